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

    trained_together: ClassVar[bool] = False
    has_teams: ClassVar[bool] = False

    @property
    def from_archive(self) -> int:
        return 0

    def team(self, archive: Archive, id_: int) -> tuple[int, ...]:
        return ()

    def pool(self, archive: Archive) -> tuple[int, ...]:
        return ()

    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        finite("logits", predictions_MNK.swapaxes(0, 1))
        members = len(predictions_MNK)
        return np.full(members, 1 / members)
