"""Search strategies: which architecture is tried next, given the archive.

A strategy is a frozen dataclass whose fields are its configuration.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.strategies.constrained import Constrained
from hpcnas.core.strategies.finals import Finals
from hpcnas.core.strategies.incremental import Incremental
from hpcnas.core.strategies.lineup import Lineup
from hpcnas.core.strategies.local_search import LocalSearch
from hpcnas.core.strategies.pareto import Pareto
from hpcnas.core.strategies.random_search import RandomSearch
from hpcnas.core.strategies.regularized_evolution import RegularizedEvolution
from hpcnas.core.strategies.replay import Replay
from hpcnas.core.strategies.surrogate import Harmonica, LinearModel
from hpcnas.core.trial import Proposal


class Strategy(Protocol):
    """What is tried next."""

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal | None:
        """An architecture for the trial ``archive.next_id``; None if nothing can be said before a running trial is back.

        Args:
            rng: all chance comes from it, so that a proposal can be made again.
            refused: proposals for this trial that were known already or over the budget.
        """


STRATEGIES: dict[str, type[Strategy]] = {
    "constrained": Constrained,
    "harmonica": Harmonica,
    "incremental": Incremental,
    "linear_model": LinearModel,
    "local_search": LocalSearch,
    "pareto": Pareto,
    "random": RandomSearch,
    "regularized_evolution": RegularizedEvolution,
    "replay": Replay,
}

__all__ = ["STRATEGIES", "Constrained", "Finals", "Incremental", "Lineup", "LocalSearch", "RandomSearch", "Strategy"]
