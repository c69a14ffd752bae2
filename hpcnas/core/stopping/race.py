"""The finals' race: synchronous successive halving of given trials (Jamieson & Talwalkar, AISTATS 2016, arXiv:1502.07943).

All entrants are trained up to the first rung, the better part of them up to the second, and so on; ``finishers`` come to the
end. Unlike ``asha`` it waits at each rung until everybody is there: who enters is known beforehand, and each halving counts.
Challengers, which are drawn from those who lead at a quarter of the way, join the race there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress, Verdict
from hpcnas.core.trial import Result, TrialState

ROUNDS = 2
"""Rungs at most. A third one, at an eighth of the way, would let go of models that learn slowly: BC-ResNet-1 is in the worse
half there, and among the best in the end."""


@dataclass(frozen=True)
class Race:
    """Trials 0 to ``entrants - 1`` take part, and the challengers; others are left alone.

    Not in ``STOPPING``, since it belongs to the final stage.
    """

    entrants: int
    rungs: tuple[int, ...]
    """Epochs after which the better part goes on, ascending."""
    finishers: int
    """So many come to the end."""
    challengers: range = range(0)
    """Trials that join at rung ``meeting``, without having been judged before."""

    @classmethod
    def of(cls, entrants: int, epochs: int, finishers: int, challengers: range = range(0)) -> Race:
        """With rungs at a quarter and half of ``epochs``, or the latter alone where that comes down to the finishers by halves.
        More entrants are not judged earlier: what a model will be shows after a quarter at the earliest."""
        all_ = entrants + len(challengers)
        rounds = min(ROUNDS, math.ceil(math.log2(max(1, all_ / finishers))))
        rungs = sorted({round(epochs / 2**i) for i in range(1, rounds + 1)} - {0, epochs})
        return cls(entrants, tuple(rungs), min(finishers, all_), challengers)

    @property
    def meeting(self) -> int:
        """The rung, counted from 0, at which challengers are compared with entrants: the last but one, where what a model will
        be shows well enough (rank correlation 0.88 with the loss in the end, 0.53 a rung earlier)."""
        return max(0, len(self.rungs) - 2)

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        if progress.trial in self.challengers:
            rungs: Sequence[int] = self.rungs[self.meeting :]
        else:
            rungs = self.rungs if progress.trial < self.entrants else ()
        return Verdict.PAUSE if progress.epoch in rungs else Verdict.CONTINUE

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
        return (*range(self.entrants), *self.challengers)

    def leaders(self, archive: Archive) -> list[Result] | None:
        """All who have come to the meeting, best first, challengers among them; None while an entrant is on the way there."""
        entrants = self._started(archive, self.meeting) if self.rungs else range(self.entrants)
        arrived = None if entrants is None else self._arrived(archive, entrants, self._meeting_epoch)
        if arrived is None:
            return None
        results = (archive.results.get(trial) for trial in self.challengers)
        arrived += [result for result in results if result is not None and _has_reached(result, self._meeting_epoch)]
        return _by_merit(arrived, self._meeting_epoch)

    def ranking(self, archive: Archive) -> list[Result] | None:
        """Those who came to the end, best first; None while the race goes on."""
        last = self._qualified(archive, len(self.rungs) - 1) if self.rungs else self._arrived(archive, self._all, 1)
        if last is None or any(result.state is TrialState.PAUSED for result in last):
            return None
        return sorted(last, key=lambda result: (-result.merit, result.trial))[: self.finishers]

    @property
    def _all(self) -> list[int]:
        return [*range(self.entrants), *self.challengers]

    @property
    def _meeting_epoch(self) -> int:
        return self.rungs[self.meeting] if self.rungs else 1

    def _started(self, archive: Archive, round_: int) -> list[int] | None:
        """The entrants who go for that round's rung; None while that is not known."""
        if round_ == 0:
            return list(range(self.entrants))
        before = self._qualified(archive, round_ - 1)
        return None if before is None else [result.trial for result in before]

    def _qualified(self, archive: Archive, round_: int) -> list[Result] | None:
        """Who goes on behind the rung of that round, best first; None while somebody has yet to come to it."""
        started = self._started(archive, round_)
        if started is None:
            return None
        if round_ == self.meeting:
            started += self.challengers
        arrived = self._arrived(archive, started, self.rungs[round_])
        return None if arrived is None else _by_merit(arrived, self.rungs[round_])[: self._places(round_)]

    def _places(self, round_: int) -> int:
        """How many go on: the same share of the entrants in each round."""
        share = (self.finishers / self.entrants) ** ((round_ + 1) / len(self.rungs))
        return max(self.finishers, math.ceil(self.entrants * share - 1e-9))

    @staticmethod
    def _arrived(archive: Archive, started: Iterable[int], rung: int) -> list[Result] | None:
        """Of those who started a round, who came to its end; None while somebody is on the way. Who failed is out."""
        results = [archive.results.get(trial) for trial in started]
        is_under_way = any(r is None or (r.state is TrialState.PAUSED and len(r.ranked) < rung) for r in results)
        return None if is_under_way else [r for r in results if r is not None and _has_reached(r, rung)]


def _has_reached(result: Result, rung: int) -> bool:
    return result.state.has_score and len(result.ranked) >= rung


def _by_merit(results: list[Result], rung: int) -> list[Result]:
    return sorted(results, key=lambda result: (-result.ranked[rung - 1], result.trial))
