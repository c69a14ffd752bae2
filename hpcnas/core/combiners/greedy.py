"""Greedy selection with replacement: Caruana et al., ICML 2004 (doi:10.1145/1015330.1015432), section 2.

The candidates are the members that were trained from scratch and the search's best trials as it left them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.checks import at_least
from hpcnas.core.combiners.average import Average
from hpcnas.core.metrics import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Greedy(Average):
    """Adds the candidate that lowers the validation loss of the mean most, again and again. A weight is the number of
    choices."""

    rounds: int = 20
    """Choices in all; the best prefix of them is kept."""
    from_archive: int = 10
    """So many of the search's best trials are candidates."""

    def __post_init__(self) -> None:
        at_least(1, "combiner", rounds=self.rounds)
        at_least(0, "combiner", from_archive=self.from_archive)

    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        total = np.zeros(predictions_MNK.shape[1:])
        chosen: list[int] = []
        losses: list[float] = []
        for size in range(1, self.rounds + 1):
            after = [cross_entropy((total + member) / size, labels_N) for member in predictions_MNK]
            chosen.append(int(np.argmin(after)))
            losses.append(min(after))
            total += predictions_MNK[chosen[-1]]
        counts = np.bincount(chosen[: int(np.argmin(losses)) + 1], minlength=len(predictions_MNK))
        shares: np.ndarray = counts / counts.sum()
        return shares
