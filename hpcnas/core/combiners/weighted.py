"""Weights that fit the validation split: the mix of logits with the lowest cross entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.checks import at_least, finite
from hpcnas.core.combiners.average import Average


@dataclass(frozen=True, kw_only=True)
class Weighted(Average):
    """Exponentiated gradient (Kivinen & Warmuth, 1997, doi:10.1006/inco.1996.2612) keeps the weights on the simplex."""

    rounds: int = 300
    rate: float = 0.5

    def __post_init__(self) -> None:
        at_least(1, "combiner", rounds=self.rounds)
        at_least(0, "combiner", rate=self.rate)

    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        finite("logits", predictions_MNK.swapaxes(0, 1))
        logits = predictions_MNK.astype(np.float64)
        rows = np.arange(len(labels_N))
        weights = np.full(len(logits), 1 / len(logits))
        for _ in range(self.rounds):
            mixed = np.tensordot(weights, logits, 1)
            error = np.exp(mixed - mixed.max(1, keepdims=True))
            error /= error.sum(1, keepdims=True)
            error[rows, labels_N] -= 1
            slope = (logits * error).sum((1, 2)) / len(labels_N)
            weights = weights * np.exp(-self.rate * (slope - slope.min()))
            weights /= weights.sum()
        return weights
