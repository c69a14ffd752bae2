"""Ensembles: who their members are, and how much each member's logits count.

A combiner is a frozen dataclass whose fields are its configuration, with ``combine(predictions (M, N, K), labels (N,)) ->
weights (M,)`` on validation data; the weights are not negative and sum to one, and predictions that are not finite raise
MetricError. Most leave the search to look for single models; those with a ``team`` make it look for the next member, given
others.
"""

from hpcnas.core.combiners.average import Average
from hpcnas.core.combiners.greedy import Greedy
from hpcnas.core.combiners.teams import Adaptive, Intermixed, Residual
from hpcnas.core.combiners.weighted import Weighted

COMBINERS = {
    "average": Average,
    "adaptive": Adaptive,
    "greedy": Greedy,
    "intermixed": Intermixed,
    "residual": Residual,
    "weighted": Weighted,
}

__all__ = ["COMBINERS", "Average"]
