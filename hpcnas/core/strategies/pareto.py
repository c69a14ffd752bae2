"""Search for the whole trade-off between score and size: parents come from the best fronts, sparse regions first.

NSGA-II's selection (Deb et al., 2002, doi:10.1109/4235.996017) over score, parameters and multiply-accumulates, one child at
a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least, between
from hpcnas.core.mutation import crossover, random_mutation, random_tower
from hpcnas.core.pareto import crowding, objectives, ranks
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal

MOST_TRIALS = 1000
"""Parents are among so many latest trials: sorting into fronts takes their square."""


@dataclass(frozen=True, kw_only=True)
class Pareto:
    population: int = 30
    """Parents are drawn from so many trials, the best by front and crowding."""
    initial: int = 10
    """Random towers before the first child."""
    initial_depth: int = 3
    """Largest depth of those."""
    crossover: float = 0.2
    """Share of children made of two parents; the others are mutations."""

    def __post_init__(self) -> None:
        at_least(2, "strategy", population=self.population)
        at_least(1, "strategy", initial=self.initial, initial_depth=self.initial_depth)
        between(0, 1, "strategy", crossover=self.crossover)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        results = archive.latest(MOST_TRIALS)
        if len(results) < self.initial:
            return Proposal(random_tower(space, int(rng.integers(1, self.initial_depth + 1)), rng), None, "start")
        points = np.array([objectives(result) for result in results])
        rank, sparsity = ranks(points), crowding(points)
        population = np.lexsort((-sparsity, rank))[: self.population]
        order = {int(member): place for place, member in enumerate(population)}

        def tournament() -> int:
            return min((int(i) for i in rng.choice(population, 2)), key=order.__getitem__)

        parent = archive.trials[results[tournament()].trial]
        if rng.random() < self.crossover:
            other = archive.trials[results[tournament()].trial]
            child, step = crossover(parent.architecture, other.architecture, space, rng), f"crossover {other.id}"
        else:
            child, step = random_mutation(parent.architecture, space, rng)
        return Proposal(child, parent.id, step)
