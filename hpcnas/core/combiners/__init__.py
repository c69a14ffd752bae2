"""Ensembles: who their members are, and how much each member's logits count.

A combiner is a frozen dataclass whose fields are its configuration. With most of them the search looks for
single models. With those that have a ``team`` it looks for the next member of an ensemble.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.combiners.average import Average
from hpcnas.core.combiners.greedy import Greedy
from hpcnas.core.combiners.teams import Adaptive, Intermixed, Residual
from hpcnas.core.combiners.weighted import Weighted


class Combiner(Protocol):
    """Decides who the members are. ``Average`` has the answers of a combiner that needs nothing from the search."""

    @property
    def from_archive(self) -> int:
        """So many of the search's best trials are candidates for membership as they are."""

    @property
    def trained_together(self) -> bool:
        """Whether a trial with a team is trained on the mean of all their logits, and not on its own."""

    @property
    def has_teams(self) -> bool:
        """Whether members are different trials that the search found for each other."""

    def team(self, archive: Archive, id_: int) -> tuple[int, ...]:
        """Earlier trials with which trial ``id_`` is to form an ensemble."""

    def pool(self, archive: Archive) -> tuple[int, ...]:
        """Trials that may be in the team of a later one, so their weights are kept."""

    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        """(M,) weights of the members, not negative, of sum one, from logits (M, N, K) and labels (N,) of the validation split.

        Raises:
            MetricError: for logits that are not finite.
        """


COMBINERS: dict[str, type[Combiner]] = {
    "average": Average,
    "adaptive": Adaptive,
    "greedy": Greedy,
    "intermixed": Intermixed,
    "residual": Residual,
    "weighted": Weighted,
}

__all__ = ["COMBINERS", "Average", "Combiner"]
