"""Equal weights: Algorithm 3 of Mazzawi et al., Interspeech 2019, with w_i = 1 / p. What all combiners have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import finite


@dataclass(frozen=True, kw_only=True)
class Average:
    """Members are retrainings of the search's winner, and count the same."""

    from_archive: ClassVar[int] = 0
    """So many of the search's best trials are candidates for membership as they are."""
    trained_together: ClassVar[bool] = False
    """Whether a trial with a team is trained on the mean of all their logits, and not on its own."""
    has_teams: ClassVar[bool] = False
    """Whether members are different trials that the search found for each other."""

    def team(self, archive: Archive, id_: int) -> tuple[int, ...]:
        """Earlier trials with which trial ``id_`` is to form an ensemble."""
        return ()

    def pool(self, archive: Archive) -> tuple[int, ...]:
        """Trials that a later one may have in its team; their weights are kept."""
        return ()

    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        finite("logits", predictions_MNK.swapaxes(0, 1))
        members = len(predictions_MNK)
        return np.full(members, 1 / members)
