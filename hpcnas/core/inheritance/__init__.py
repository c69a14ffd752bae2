"""Inheritance: which trials a new one starts from, and which of its arrays it takes from them.

A rule is a frozen dataclass whose fields are its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.inheritance.average import AverageOfBest, LossWeighted
from hpcnas.core.inheritance.none import NoInheritance
from hpcnas.core.inheritance.parent import Parent
from hpcnas.core.inheritance.parts import Arrays, Shapes
from hpcnas.core.trial import Donor, Trial


class InheritanceRule(Protocol):
    """What a trial begins with."""

    @property
    def near_identity(self) -> bool:
        """Whether a block that inherits nothing starts as (nearly) the identity, where its type allows it."""

    def donors(self, archive: Archive, trial: Trial) -> tuple[Donor, ...]:
        """Trials with a score that ``trial`` starts from; asked on rank 0."""

    def merge(self, trial: Trial, shapes: Shapes, donors: Sequence[tuple[Donor, Arrays]]) -> dict[str, np.ndarray]:
        """The arrays that ``trial`` inherits, by its own names; asked in its group.

        Args:
            shapes: of all its arrays: ``blocks.<index>.<rest>``, or of what is behind the searched blocks.
            donors: those of its donors whose weights are there, with their arrays, named the same way.
        """


INHERITANCE: dict[str, type[InheritanceRule]] = {
    "parent": Parent,
    "average_of_best": AverageOfBest,
    "loss_weighted": LossWeighted,
    "none": NoInheritance,
}

__all__ = ["INHERITANCE", "InheritanceRule", "NoInheritance", "Parent"]
