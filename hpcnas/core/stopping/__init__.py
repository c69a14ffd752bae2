"""Stopping rules: is a running trial still worth its time.

A rule is a frozen dataclass whose fields are its configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress, Verdict
from hpcnas.core.stopping.asha import Asha
from hpcnas.core.stopping.median import Median
from hpcnas.core.stopping.none import NeverStop
from hpcnas.core.stopping.patience import Patience


class StoppingRule(Protocol):
    """Decides which trials go on. Its answers depend on its arguments alone, since a resumed search asks again."""

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        """What becomes of a running trial after an epoch: ``CONTINUE``, ``PAUSE`` or ``STOP``."""

    def promote(self, archive: Archive, may_go_on: Callable[[int], bool]) -> int | None:
        """The paused trial that goes on before a new one is begun, among those that may; None if none shall."""

    def candidates(self, archive: Archive, margin: int) -> Iterable[int]:
        """Paused trials that may yet go on, so their weights are kept: from each rung ``margin`` more than would go on now."""


STOPPING: dict[str, type[StoppingRule]] = {
    "none": NeverStop,
    "asha": Asha,
    "median": Median,
    "patience": Patience,
}

__all__ = ["STOPPING", "Asha", "Median", "NeverStop", "Patience", "StoppingRule"]
