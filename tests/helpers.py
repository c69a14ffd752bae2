"""Made-up values for tests of the pure logic."""

from __future__ import annotations

from hpcnas.core.architecture import Architecture
from hpcnas.core.space import BlockType, SearchSpace
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState

DENSE = BlockType("dense", "sequence", {"units": (8, 16, 32)}, "")
GRU = BlockType("gru", "sequence", {"units": (4, 8), "layers": (1, 2)}, "")
SPACE = SearchSpace((DENSE, GRU), max_depth=4)


def trial(id_: int, architecture: str = "dense:units=8", parent: int | None = None) -> Trial:
    return Trial(id_, Proposal(Architecture.parse(architecture), parent, "start"), seed=id_)


def completed(id_: int, accuracy: float, *, loss: float = 1.0, params: int = 100, curve: tuple[float, ...] = ()) -> Result:
    cost = Cost(params, 10 * params, 50)
    return Result(id_, TrialState.COMPLETED, accuracy, loss, cost, 2, 20, 0, 1.5, 0, curve or (accuracy / 2, accuracy))
