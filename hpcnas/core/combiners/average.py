"""Equal weights: Algorithm 3 of Mazzawi et al., Interspeech 2019, with w_i = 1 / p."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Average:
    def combine(self, predictions_MNK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        members = len(predictions_MNK)
        return np.full(members, 1 / members)
