"""Stopping rules: is a running trial still worth its time.

A rule is a frozen dataclass with ``judge(archive, progress) -> Verdict``; ``promote(archive, may_go_on) -> int | None``: which
of the paused trials, if any, goes on before a new one is begun; and ``candidates(archive, margin) -> Iterable[int]``: those
that may come to do so, whose weights are kept for it.
"""

from hpcnas.core.stopping.asha import Asha
from hpcnas.core.stopping.median import Median
from hpcnas.core.stopping.none import NeverStop
from hpcnas.core.stopping.patience import Patience

STOPPING = {
    "none": NeverStop,
    "asha": Asha,
    "median": Median,
    "patience": Patience,
}

__all__ = ["STOPPING", "Asha", "Median", "NeverStop", "Patience"]
