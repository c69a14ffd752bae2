"""Random search: towers of random depth and blocks; the yardstick for every other strategy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.mutation import random_tower
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Depth uniform from ``min_depth`` to the space's limit, blocks independent."""

    min_depth: int = 1

    def __post_init__(self) -> None:
        at_least(1, "strategy", min_depth=self.min_depth)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        depth = int(rng.integers(min(self.min_depth, space.max_depth), space.max_depth + 1))
        return Proposal(random_tower(space, depth, rng), None, "start")
