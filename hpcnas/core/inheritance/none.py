"""No inheritance: every trial starts from its own random initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.inheritance.parts import Arrays, Shapes
from hpcnas.core.trial import Donor, Trial


@dataclass(frozen=True, kw_only=True)
class NoInheritance:
    """The null rule."""

    near_identity: ClassVar[bool] = False

    def donors(self, archive: Archive, trial: Trial) -> tuple[Donor, ...]:
        return ()

    def merge(self, trial: Trial, shapes: Shapes, donors: Sequence[tuple[Donor, Arrays]]) -> dict[str, np.ndarray]:
        return {}
