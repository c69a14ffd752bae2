"""Search for a cell: towers are cells of the same length with a fixed reduction block behind each.

The constrained search of google/model_search: with ``repeat`` one cell is found and used throughout, as in Zoph et al.,
CVPR 2018 (doi:10.1109/CVPR.2018.00907); without it each place is its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class Constrained:
    cell: int = 2
    """n: blocks of a cell."""
    cells: int = 2
    """Cells of a tower, each followed by the reduction; the space's ``max_depth`` counts all of these blocks."""
    reduction: str = "max_pool:size=2"
    """The block behind each cell."""
    repeat: bool = True
    """Whether all cells of a tower are equal."""
    beam: int = 1
    """The candidate is drawn from so many best ones."""
    initial: int = 5
    """Random towers before the first mutation."""

    def __post_init__(self) -> None:
        at_least(1, "strategy", cell=self.cell, cells=self.cells, beam=self.beam, initial=self.initial)
        try:
            Block.parse(self.reduction)
        except ArchitectureError as error:
            raise ConfigError(f"strategy.reduction: {error}") from error

    @property
    def depth(self) -> int:
        """Blocks of a tower."""
        return self.cells * (self.cell + 1)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        free = self.cell * (1 if self.repeat else self.cells)
        if len(archive.ranking) < self.initial:
            return Proposal(self._assemble([space.sample(rng) for _ in range(free)]), None, "start")
        best = archive.best(self.beam)
        parent = best[rng.integers(len(best))]
        blocks = self._searched(parent.architecture)[:free]
        blocks += [space.sample(rng) for _ in range(free - len(blocks))]  # a suggestion may have fewer
        index = int(rng.integers(free))
        blocks[index] = space.sample(rng)
        return Proposal(self._assemble(blocks), parent.id, f"swap {index}")

    def _assemble(self, searched: list[Block]) -> Architecture:
        blocks = searched * (self.cells if self.repeat else 1)
        reduction = Block.parse(self.reduction)
        return Architecture(
            tuple(b for c in range(self.cells) for b in (*blocks[c * self.cell : (c + 1) * self.cell], reduction))
        )

    def _searched(self, tower: Architecture) -> list[Block]:
        return [block for place, block in enumerate(tower.blocks) if place % (self.cell + 1) != self.cell]
