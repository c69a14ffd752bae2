"""Search strategies: which architecture is tried next, given the archive.

A strategy is a frozen dataclass whose fields are its configuration, with ``propose(archive, space, rng, refused) ->
Proposal``; all its chance comes from ``rng``, and ``refused`` counts the proposals for this trial that were known already or
over the budget. ``may_repeat`` says whether an architecture may be tried more than once.
"""

from hpcnas.core.strategies.incremental import Incremental
from hpcnas.core.strategies.random_search import RandomSearch
from hpcnas.core.strategies.repeat import Repeat

STRATEGIES = {
    "incremental": Incremental,
    "random": RandomSearch,
}

__all__ = ["STRATEGIES", "Incremental", "RandomSearch", "Repeat"]
