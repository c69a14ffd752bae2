"""Combiners: how much each ensemble member's logits count.

A combiner is a frozen dataclass with ``combine(predictions (M, N, K), labels (N,)) -> weights (M,)``, fitted on the
validation split; weights are not negative and sum to one.
"""

from hpcnas.core.combiners.average import Average
from hpcnas.core.combiners.greedy import Greedy
from hpcnas.core.combiners.weighted import Weighted

COMBINERS = {
    "average": Average,
    "greedy": Greedy,
    "weighted": Weighted,
}

__all__ = ["COMBINERS", "Average"]
