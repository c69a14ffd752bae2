"""Local search: the best few are varied by small steps, as far as trials last.

After White, Nolen & Savani, Local search is state of the art for NAS benchmarks, UAI 2021 (arXiv:2005.02960), on towers: as in
Mazzawi et al., Interspeech 2019, Algorithm 2, the best candidate is mutated and children inherit its weights, but steps are
smaller than a whole random block, and nothing is prescribed about the depth. See ``FINE_STEPS`` for the steps.

Pure: no files, no MPI, no torch. All chance comes from the generator that the caller passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least, between
from hpcnas.core.mutation import fine_steps, random_tower, steps_away
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """Small steps from the best few."""

    beam: int = 4
    """The tower that is varied is one of so many best ones."""
    initial: int = 4
    """Trials with a score, random towers among them where too little was suggested, before any is varied."""
    initial_depth: int = 4
    """Largest depth of random towers."""
    second_step: float = 0.3
    """How often a step is followed by another one, that by a third, and so on."""

    def __post_init__(self) -> None:
        at_least(1, "strategy", beam=self.beam, initial=self.initial, initial_depth=self.initial_depth)
        between(0, 0.9, "strategy", second_step=self.second_step)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        if len(archive.ranking) < self.initial:
            return Proposal(random_tower(space, int(rng.integers(1, self.initial_depth + 1)), rng), None, "start")
        best = archive.best(self.beam)
        parent = best[rng.integers(len(best))]
        tower, step = fine_steps(parent.architecture, space, rng, steps_away(refused), self.second_step)
        return Proposal(tower, parent.id, step)
