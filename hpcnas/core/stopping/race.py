"""The finals' race: synchronous successive halving of given trials (Jamieson & Talwalkar, AISTATS 2016, arXiv:1502.07943).

All entrants are trained up to the first rung, the better part of them up to the second, and so on; ``finishers`` come to the
end. Unlike ``asha`` it waits at each rung until everybody is there: who enters is known beforehand, and each halving counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress, Verdict
from hpcnas.core.trial import Result, TrialState

ROUNDS = 3
"""Rungs at most."""


@dataclass(frozen=True)
class Race:
    """Trials 0 to ``entrants - 1`` take part; others are left alone.

    Not in ``STOPPING``, since it belongs to the final stage.
    """

    entrants: int
    rungs: tuple[int, ...]
    """Epochs after which the better part goes on, ascending."""
    finishers: int
    """So many come to the end."""

    @classmethod
    def of(cls, entrants: int, epochs: int, finishers: int) -> Race:
        """With rungs at an eighth, a quarter and half of ``epochs``, or the last of these that come down to the finishers by
        halves. More entrants are not judged earlier: what a model will be shows after an eighth at the earliest."""
        rounds = min(ROUNDS, math.ceil(math.log2(max(1, entrants / finishers))))
        rungs = sorted({round(epochs / 2**i) for i in range(1, rounds + 1)} - {0, epochs})
        return cls(entrants, tuple(rungs), min(finishers, entrants))

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        is_stop = progress.trial < self.entrants and progress.epoch in self.rungs
        return Verdict.PAUSE if is_stop else Verdict.CONTINUE

    def promote(self, archive: Archive, may_go_on: Callable[[int], bool]) -> int | None:
        """The best trial that a rung lets go on and that still waits there."""
        for round_ in range(len(self.rungs)):
            qualified = self._qualified(archive, round_)
            if qualified is None:
                return None
            for result in qualified:
                is_waiting = result.state is TrialState.PAUSED and len(result.ranked) == self.rungs[round_]
                if is_waiting and may_go_on(result.trial):
                    return result.trial
        return None

    def candidates(self, archive: Archive, margin: int) -> Iterable[int]:
        """All who take part may yet go on."""
        return range(self.entrants)

    def ranking(self, archive: Archive) -> list[Result] | None:
        """Those who came to the end, best first; None while the race goes on."""
        last = self._qualified(archive, len(self.rungs) - 1) if self.rungs else self._arrived(archive, range(self.entrants), 1)
        if last is None or any(result.state is TrialState.PAUSED for result in last):
            return None
        return sorted(last, key=lambda result: (-result.merit, result.trial))[: self.finishers]

    def _qualified(self, archive: Archive, round_: int) -> list[Result] | None:
        """Who goes on behind the rung of that round, best first; None while somebody has yet to come to it."""
        if round_ == 0:
            started = range(self.entrants)
        else:
            before = self._qualified(archive, round_ - 1)
            if before is None:
                return None
            started = [result.trial for result in before]
        rung = self.rungs[round_]
        arrived = self._arrived(archive, started, rung)
        if arrived is None:
            return None
        return sorted(arrived, key=lambda result: (-result.ranked[rung - 1], result.trial))[: self._places(round_)]

    def _places(self, round_: int) -> int:
        """How many go on: the same share in each round."""
        share = (self.finishers / self.entrants) ** ((round_ + 1) / len(self.rungs))
        return max(self.finishers, math.ceil(self.entrants * share - 1e-9))

    @staticmethod
    def _arrived(archive: Archive, started: range | list[int], rung: int) -> list[Result] | None:
        """Of those who started a round, who came to its end; None while somebody is on the way. Who failed is out."""
        results = [archive.results.get(trial) for trial in started]
        is_under_way = any(r is None or (r.state is TrialState.PAUSED and len(r.ranked) < rung) for r in results)
        return None if is_under_way else [r for r in results if r is not None and r.state.has_score and len(r.ranked) >= rung]
