"""How a finished model learns other classes from a few recordings of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.nn.corpus import Split

PARTS = ("head", "all")


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """How a finished model learns other classes."""

    train: str = "all"
    """``all``: everything, at ``rate``; ``head``: what stands behind the blocks, which stay as they are, at the run's rate."""
    rate: float = 0.3
    """Of ``all``: share of ``training.learning_rate``; 0.3 and 1 were as good on validation, 0.1 worse (docs/figures.md)."""
    shots: int = 0
    """Training recordings of each class, drawn by ``seed``; 0: all there are."""
    steps: int = 400
    """Optimiser steps at least: few recordings are taken several times an epoch."""
    epochs: int = 20
    control: bool = True
    """Also train the same towers from scratch on the same recordings for as long, to compare."""

    def __post_init__(self) -> None:
        if self.train not in PARTS:
            raise ConfigError(f'adaptation.train = "{self.train}": unknown; known: {", ".join(PARTS)}')
        if not self.rate > 0:
            raise ConfigError(f"adaptation.rate = {self.rate}: must be positive")
        at_least(0, "adaptation", shots=self.shots)
        at_least(1, "adaptation", steps=self.steps, epochs=self.epochs)


def few(train: Split, class_names: Sequence[str], config: AdaptationConfig, batch: int, seed: int) -> Split:
    """What is learnt from: ``config.shots`` recordings of each class, all of them so often that ``config.epochs`` epochs in
    batches of ``batch`` are ``config.steps`` steps at least. Of ``_unknown_`` and ``_silence_``, which are drawn to go with the
    others, there may be fewer.

    Raises:
        DataError: if there are fewer of another class.
    """
    kept = []
    for label, name in enumerate(class_names):
        rows = np.flatnonzero(train.labels == label)
        if len(rows) < config.shots and not name.startswith("_"):
            raise DataError(f'adaptation.shots = {config.shots}: only {len(rows)} recordings of "{name}" are for training')
        kept.append(np.random.default_rng([seed, label]).permutation(rows)[: config.shots or None])
    rows = np.sort(np.concatenate(kept))
    times = math.ceil(math.ceil(config.steps / config.epochs) * batch / len(rows))
    rows = np.tile(rows, max(1, times))
    return replace(
        train, starts=train.starts[rows], lengths=train.lengths[rows], spoken=train.spoken[rows], labels=train.labels[rows]
    )
