"""Incremental search: deepen the tower while the evidence allows, then refine it in place.

The default strategy, after Mazzawi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1916), Algorithms 1 and 2:
the best candidate grows by one random block while its depth is below floor(|C| / M) and K; otherwise one random block is
replaced. ``beam`` and ``grow_probability`` are google/model_search's; their defaults give the paper's rule.

Pure: no files, no MPI, no torch. All chance comes from the generator that the caller passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least, between
from hpcnas.core.errors import ConfigError
from hpcnas.core.mutation import grow, insert, random_tower, swap
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal

LEAVE_RULE = 30
"""differs: the paper has no size limit. When so many proposals for a trial were refused, since the tower may not grow by any
block within the budget or all its neighbours are known, it grows or is changed with equal chance whatever its depth."""
LEAVE_BEAM = 100
"""When so many were refused, any candidate is mutated."""


@dataclass(frozen=True, kw_only=True)
class Incremental:
    """The paper's S: mutate the best candidate."""

    trials_per_block: int = 2
    """M: a tower may have one block more for every so many scored trials. The paper does not say; model_search has 5."""
    thresholds: tuple[int, ...] = ()
    """Instead of M: numbers of scored trials, each of which permits one block beyond ``initial_depth``."""
    initial_depth: int = 3
    """Blocks of the first architectures, drawn at random while nothing has a score. The paper does not say; of one block
    little can be told after a short trial."""
    grow_at: str = "end"
    """Where a new block goes: ``end``, before the classifier, or ``anywhere``."""
    beam: int = 1
    """The candidate is drawn from so many best ones."""
    grow_probability: float = 1.0
    """How often a tower that may grow does."""

    def __post_init__(self) -> None:
        at_least(1, "strategy", trials_per_block=self.trials_per_block, initial_depth=self.initial_depth, beam=self.beam)
        between(0, 1, "strategy", grow_probability=self.grow_probability)
        if self.grow_at not in ("end", "anywhere"):
            raise ConfigError(f'strategy.grow_at = "{self.grow_at}": must be "end" or "anywhere"')

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        if not archive.ranking:
            depth = self.initial_depth if refused < LEAVE_RULE else int(rng.integers(1, self.initial_depth + 1))
            return Proposal(random_tower(space, depth, rng), None, "start")
        candidates = len(archive.ranking) if refused >= LEAVE_BEAM else min(self.beam, len(archive.ranking))
        parent = archive.trials[archive.ranking[rng.integers(candidates)].trial]
        tower = parent.architecture
        if refused < LEAVE_RULE:
            may_grow = tower.depth < self._allowed(archive, space) and rng.random() < self.grow_probability
        else:
            may_grow = tower.depth < space.max_depth and rng.random() < 0.5
        if may_grow and self.grow_at == "anywhere":
            place = int(rng.integers(tower.depth + 1))
            return Proposal(insert(tower, place, space.sample(rng)), parent.id, f"insert {place}")
        if may_grow:
            return Proposal(grow(tower, space.sample(rng)), parent.id, "grow")
        index = int(rng.integers(tower.depth))
        return Proposal(swap(tower, index, space.sample(rng)), parent.id, f"swap {index}")

    def _allowed(self, archive: Archive, space: SearchSpace) -> int:
        """Depth that the number of scored trials permits: floor(|C| / M), at most K."""
        scored = len(archive.ranking)
        if self.thresholds:
            allowed = self.initial_depth + sum(scored >= threshold for threshold in self.thresholds)
        else:
            allowed = scored // self.trials_per_block
        return min(allowed, space.max_depth)
