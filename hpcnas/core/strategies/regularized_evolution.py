"""Regularised evolution: the best of a sample is mutated, the oldest dies.

Real et al., AAAI 2019 (doi:10.1609/aaai.v33i01.33014780), Algorithm 1, on towers of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive, rank_key
from hpcnas.core.checks import at_least
from hpcnas.core.mutation import random_mutation, random_tower
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class RegularizedEvolution:
    population: int = 20
    """P: so many latest scored trials are alive; before there are so many, towers are random."""
    sample: int = 5
    """S: the parent is the best of so many, drawn from the population."""
    initial_depth: int = 3
    """Largest depth of the first, random towers."""

    def __post_init__(self) -> None:
        at_least(1, "strategy", population=self.population, sample=self.sample, initial_depth=self.initial_depth)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        alive = archive.latest(self.population)
        if len(alive) < self.population:
            return Proposal(random_tower(space, int(rng.integers(1, self.initial_depth + 1)), rng), None, "start")
        drawn = rng.choice(len(alive), size=min(self.sample, len(alive)), replace=False)
        parent = archive.trials[min((alive[i] for i in drawn), key=rank_key).trial]
        child, step = random_mutation(parent.architecture, space, rng)
        return Proposal(child, parent.id, step)
