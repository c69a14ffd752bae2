"""Asynchronous successive halving: Li et al., MLSys 2020 (arXiv:1810.05934), Algorithm 2.

Rungs stand after ``first``, ``first * factor``, ``first * factor**2`` ... epochs. Of the trials that have come to a rung the
best 1 / ``factor`` go on, the others pause there; a free group first looks for a paused trial that has come to be among the
best, from the highest rung down, and only then begins a new one.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.messages import Progress, Verdict
from hpcnas.core.trial import TrialState


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
        arrived = self._scores(archive, progress.epoch, but=progress.trial)
        better = sum(score >= progress.score for score in arrived.values())
        return Verdict.CONTINUE if better < (len(arrived) + 1) // self.factor else Verdict.PAUSE

    def promote(self, archive: Archive, candidates: Set[int]) -> int | None:
        """The best paused trial on the highest rung whose place there is among the first 1 / ``factor``."""
        waiting = [archive.results[i] for i in candidates if archive.results[i].state is TrialState.PAUSED]
        for rung in sorted({len(result.curve) for result in waiting}, reverse=True):
            arrived = self._scores(archive, rung)
            go_on = set(sorted(arrived, key=lambda i: (-arrived[i], i))[: len(arrived) // self.factor])
            ready = [result for result in waiting if len(result.curve) == rung and result.trial in go_on]
            if ready:
                return min(ready, key=lambda result: (-result.score, result.trial)).trial
        return None

    def _is_rung(self, epoch: int) -> bool:
        while epoch > self.first and epoch % self.factor == 0:
            epoch //= self.factor
        return epoch == self.first

    def _scores(self, archive: Archive, rung: int, but: int | None = None) -> dict[int, float]:
        """Scores at a rung of all trials that have come to it."""
        return {r.trial: r.curve[rung - 1] for r in archive.ranking if len(r.curve) >= rung and r.trial != but}
