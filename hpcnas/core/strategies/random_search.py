"""Random search: towers of random depth and blocks; the yardstick for every other strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ConfigError
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Depth uniform from ``min_depth`` to the space's limit, blocks independent."""

    min_depth: int = 1

    may_repeat: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.min_depth < 1:
            raise ConfigError(f"strategy.min_depth = {self.min_depth}: must be at least 1")

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        depth = int(rng.integers(min(self.min_depth, space.max_depth), space.max_depth + 1))
        return Proposal(Architecture(tuple(space.sample(rng) for _ in range(depth))), None, "start")
