"""Local search: published towers and grafts of them to begin with; then the best few are varied by small steps.

After White, Nolen & Savani, Local search is state of the art for NAS benchmarks, UAI 2021 (arXiv:2005.02960), on towers: as in
Mazzawi et al., Interspeech 2019, Algorithm 2, the best candidate is mutated and children inherit its weights, but steps are
smaller than a whole random block, and nothing is prescribed about the depth. See ``FINE_STEPS`` for the steps.

Pure: no files, no MPI, no torch. All chance comes from the generator that the caller passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least, between
from hpcnas.core.mutation import crossover, fine_steps, grafted, random_tower, steps_away
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal, Trial

PAIRS = 100
"""Pairs of suggested towers that are looked at for one that can be grafted."""
PATIENCE = 20
"""Grafts that were known already, or are over a limit, before a trial is a small step instead: few towers give few grafts."""


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """Grafts of what was suggested, then small steps from the best few."""

    grafts: int = 16
    """Trials behind the suggestions that join the first stages of one, over planes, to the last of another, over frames alone:
    published towers for keywords are the one or the other, and under a small limit both together are better than either."""
    beam: int = 4
    """The tower that is varied is one of so many best ones."""
    initial: int = 4
    """Trials with a score, random towers among them where too little was suggested, before any is varied."""
    initial_depth: int = 4
    """Largest depth of random towers."""
    second_step: float = 0.3
    """How often a step is followed by another one, that by a third, and so on."""
    crossover: float = 0.1
    """How often first blocks of one of the best are joined to last blocks of another instead."""

    def __post_init__(self) -> None:
        at_least(0, "strategy", grafts=self.grafts)
        at_least(1, "strategy", beam=self.beam, initial=self.initial, initial_depth=self.initial_depth)
        between(0, 0.9, "strategy", second_step=self.second_step)
        between(0, 1, "strategy", crossover=self.crossover)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        suggested = _suggested(archive)
        is_for_graft = archive.next_id < len(suggested) + self.grafts and refused < PATIENCE
        # The run that a warm search goes on from has its grafts behind it, and none would start from its weights.
        if is_for_graft and not any(trial.proposal.is_warm for trial in suggested) and (graft := _graft(suggested, space, rng)):
            return graft
        if len(archive.ranking) < self.initial:
            return Proposal(random_tower(space, int(rng.integers(1, self.initial_depth + 1)), rng), None, "start")
        best = archive.best(self.beam)
        parent, other = best[rng.integers(len(best))], best[rng.integers(len(best))]
        if parent is not other and rng.random() < self.crossover:
            tower = crossover(parent.architecture, other.architecture, space, rng)
            return Proposal(tower, parent.id, f"crossed with {other.id}")
        tower, step = fine_steps(parent.architecture, space, rng, steps_away(refused), self.second_step)
        return Proposal(tower, parent.id, step)


def _suggested(archive: Archive) -> list[Trial]:
    """The trials that the search began with."""
    return list(takewhile(lambda trial: trial.proposal.is_suggestion, archive.trials.values()))


def _graft(suggested: list[Trial], space: SearchSpace, rng: np.random.Generator) -> Proposal | None:
    """Two of them in one tower; None if no two go together."""
    for _ in range(PAIRS if suggested else 0):
        front, tail = (suggested[rng.integers(len(suggested))] for _ in range(2))
        if (tower := grafted(front.architecture, tail.architecture, space, rng)) is not None:
            return Proposal(tower, None, f"graft of {tail.id} on {front.id}", fills=True)
    return None
