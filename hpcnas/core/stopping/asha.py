"""Asynchronous successive halving: Li et al., MLSys 2020 (arXiv:1810.05934), Algorithm 2.

Rungs stand after ``first``, ``first * factor``, ``first * factor**2`` ... epochs. Of the trials that have reached a rung the
best 1 / ``factor`` go on, and the others pause. A free group first looks, from the highest rung down, for a paused trial that
is now among the best. Only if there is none does it begin a new trial.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.messages import Progress, Verdict


@dataclass(frozen=True, kw_only=True)
class Asha:
    first: int = 2
    """r: epochs to the first rung."""
    factor: int = 3
    """eta: one trial in so many goes on from a rung."""

    def __post_init__(self) -> None:
        at_least(1, "stopping", first=self.first)
        at_least(2, "stopping", factor=self.factor)

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        if not self._is_rung(progress.epoch):
            return Verdict.CONTINUE
        arrived = archive.after(progress.epoch)
        better, others = bisect_right(arrived, (-progress.merit, math.inf)), len(arrived)
        own = archive.results.get(progress.trial)  # of a trial that came here before its group was lost
        if own is not None and len(own.ranked) >= progress.epoch:
            better, others = better - (own.ranked[progress.epoch - 1] >= progress.merit), others - 1
        return Verdict.CONTINUE if better < (others + 1) // self.factor else Verdict.PAUSE

    def promote(self, archive: Archive, may_go_on: Callable[[int], bool]) -> int | None:
        """The best paused trial among the first 1 / ``factor`` of its rung, from the highest rung that has one."""
        for rung in sorted(archive.paused(), reverse=True):
            for trial in self._first(archive, rung):
                if may_go_on(trial):
                    return trial
        return None

    def candidates(self, archive: Archive, margin: int) -> Iterator[int]:
        """Paused trials among the first 1 / ``factor`` of their rung, or a little behind.

        While the number n of arrived trials doubles, a place moves by about the square root of n. So that many places behind
        count too, and at least ``margin``."""
        for rung in archive.paused():
            yield from self._first(archive, rung, max(margin, 2 * math.isqrt(len(archive.after(rung)))))

    def _first(self, archive: Archive, rung: int, margin: int = 0) -> Iterator[int]:
        """Paused trials on a rung whose place there is among the first 1 / ``factor``, and ``margin`` more; best first."""
        arrived = archive.after(rung)
        places = min(len(arrived), len(arrived) // self.factor + margin)
        if places:
            last = arrived[places - 1]
            yield from (entry[1] for entry in takewhile(lambda entry: entry <= last, archive.paused()[rung]))

    def _is_rung(self, epoch: int) -> bool:
        while epoch > self.first and epoch % self.factor == 0:
            epoch //= self.factor
        return epoch == self.first
