"""Given architectures, in order, again and again if need be: the ensemble's members and their baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True)
class Repeat:
    """Trial i is ``proposals[i]``; not in ``STRATEGIES``, since its proposals are not configuration."""

    proposals: tuple[Proposal, ...]

    may_repeat: ClassVar[bool] = True

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        return self.proposals[archive.next_id]
