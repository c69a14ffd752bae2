"""Stopping rules: is a running trial still worth its time.

A rule is a frozen dataclass with ``keep_going(archive, progress) -> bool``.
"""

from hpcnas.core.stopping.median import Median
from hpcnas.core.stopping.none import NeverStop
from hpcnas.core.stopping.patience import Patience

STOPPING = {
    "none": NeverStop,
    "median": Median,
    "patience": Patience,
}

__all__ = ["STOPPING", "Median", "NeverStop", "Patience"]
