"""Stopping rules: is a running trial still worth its time.

A rule is a frozen dataclass with ``keep_going(archive, progress) -> bool``.
"""

from hpcnas.core.stopping.median import Median
from hpcnas.core.stopping.none import NeverStop

STOPPING = {
    "none": NeverStop,
    "median": Median,
}

__all__ = ["STOPPING", "Median", "NeverStop"]
