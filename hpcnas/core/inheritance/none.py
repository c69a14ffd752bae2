"""No inheritance: every trial starts from its own random initialisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.trial import Trial


@dataclass(frozen=True, kw_only=True)
class NoInheritance:
    """The null rule."""

    near_identity: ClassVar[bool] = False

    def donors(self, archive: Archive, trial: Trial) -> tuple[Trial, ...]:
        return ()

    def merge(
        self, trial: Trial, shapes: Mapping[str, tuple[int, ...]], donors: Sequence[tuple[Trial, Mapping[str, np.ndarray]]]
    ) -> dict[str, np.ndarray]:
        return {}
