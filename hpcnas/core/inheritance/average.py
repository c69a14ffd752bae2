"""Inherit from several of the best trials: a block starts from the mean of what they have at its place.

google/model_search has these transfer rules beside the parent's. All donors count alike (``average_of_best``), or each counts
by the inverse of its loss (``loss_weighted``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.inheritance.parts import Arrays, Shapes, corresponding, taken
from hpcnas.core.mutation import matching_blocks
from hpcnas.core.trial import Donor, Result, Trial


@dataclass(frozen=True, kw_only=True)
class AverageOfBest:
    """Every donor counts the same."""

    best: int = 3
    """The donors are the parent and so many of the best trials, each once."""
    near_identity: bool = True
    """A new block starts as (nearly) the identity where its type allows it."""

    def __post_init__(self) -> None:
        at_least(1, "inheritance", best=self.best)

    def donors(self, archive: Archive, trial: Trial) -> tuple[Donor, ...]:
        """The parent first, then the best; none for a first architecture."""
        parent = trial.proposal.parent
        if parent is None:
            return ()
        ids = [parent, *(best.id for best in archive.best(self.best))]
        scored = [i for i in dict.fromkeys(ids) if i in archive.results and archive.results[i].state.has_score]
        return tuple(Donor(archive.trials[i], self.weight(archive.results[i])) for i in scored)

    def weight(self, result: Result) -> float:
        """How much a donor counts."""
        return 1.0

    def merge(self, trial: Trial, shapes: Shapes, donors: Sequence[tuple[Donor, Arrays]]) -> dict[str, np.ndarray]:
        """The arrays that ``trial`` inherits: of each part the mean over the donors that have it, whole."""
        offers: dict[str, list[tuple[float, dict[str, np.ndarray]]]] = {}
        for donor, arrays in donors:
            blocks = matching_blocks(trial.architecture, donor.trial.architecture, behind=True)
            pairs = corresponding(shapes, blocks, behind=True)
            for own, theirs in pairs.items():
                if offer := taken(shapes, arrays, own, theirs):
                    offers.setdefault(own, []).append((donor.weight, offer))
        merged: dict[str, np.ndarray] = {}
        for part in offers.values():
            shares = normalised([weight for weight, _ in part])
            for name, first in part[0][1].items():
                mean = sum(share * offer[name].astype(np.float64) for share, (_, offer) in zip(shares, part))
                merged[name] = np.asarray(mean, first.dtype)
        return merged


@dataclass(frozen=True, kw_only=True)
class LossWeighted(AverageOfBest):
    """A donor counts by the inverse of its validation loss."""

    def weight(self, result: Result) -> float:
        return 1 / max(result.loss, 1e-6)


def normalised(weights: Sequence[float]) -> np.ndarray:
    """The same, summing to one."""
    array = np.asarray(weights, np.float64)
    shares: np.ndarray = array / array.sum()
    return shares
