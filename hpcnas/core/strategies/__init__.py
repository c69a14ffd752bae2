"""Search strategies: which architecture is tried next, given the archive.

A strategy is a frozen dataclass whose fields are its configuration, with ``propose(archive, space, rng, refused) ->
Proposal``; all its chance comes from ``rng``, and ``refused`` counts the proposals for this trial that were known already or
over the budget. None means that nothing can be said before a running trial is back.
"""

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

STRATEGIES = {
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

__all__ = ["STRATEGIES", "Finals", "Incremental", "Lineup", "RandomSearch"]
