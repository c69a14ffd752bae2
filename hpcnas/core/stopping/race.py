"""The finals' race: synchronous successive halving of given trials (Jamieson & Talwalkar, AISTATS 2016, arXiv:1502.07943).

All entrants are trained up to the first rung, the better part of them up to the second, and so on; ``finishers`` reach the
end. Unlike ``asha`` the race waits at each rung until all are there, since the entrants are known beforehand and each halving
counts. Challengers are drawn from the leaders at the first rung, and join the race there. Half of the way to that rung
those are given up whom most others are ahead of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress, Verdict
from hpcnas.core.trial import Result, TrialState

ROUNDS = 2
"""Rungs at most. A third one, after an eighth of the epochs, would drop models that learn slowly: BC-ResNet-1 is in the worse
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
    """Trials that join at the first rung."""
    look: int = 0
    """Epochs after which a challenger that is behind most others is given up; 0: none is."""

    @classmethod
    def of(cls, entrants: int, epochs: int, finishers: int, challengers: range = range(0)) -> Race:
        """With rungs at a quarter and half of ``epochs``, or the latter alone where that comes down to the finishers by halves.
        More entrants are not judged earlier: what a model will be shows after a quarter at the earliest."""
        all_ = entrants + len(challengers)
        rounds = min(ROUNDS, math.ceil(math.log2(max(1, all_ / finishers))))
        rungs = sorted({round(epochs / 2**i) for i in range(1, rounds + 1)} - {0, epochs})
        return cls(entrants, tuple(rungs), min(finishers, all_), challengers, rungs[0] // 2 if rungs else 0)

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        is_challenger = progress.trial in self.challengers
        if is_challenger and progress.epoch == self.look and self._is_behind(archive, progress):
            return Verdict.STOP
        takes_part = progress.trial < self.entrants or is_challenger
        return Verdict.PAUSE if takes_part and progress.epoch in self.rungs else Verdict.CONTINUE

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
        return self._all

    def leaders(self, archive: Archive) -> list[Result] | None:
        """All trials that have reached the first rung, best first, challengers among them; None while an entrant is on its way
        there.

        The loss there predicts the final one on the test well enough: in two sets of towers their rank correlation is 0.88 and
        0.79."""
        first = self.rungs[0] if self.rungs else 1
        arrived = self._arrived(archive, range(self.entrants), first)
        if arrived is None:
            return None
        results = (archive.results.get(trial) for trial in self.challengers)
        return _by_merit(
            [*arrived, *(result for result in results if result is not None and _has_reached(result, first))], first
        )

    def ranking(self, archive: Archive) -> list[Result] | None:
        """Those who came to the end, best first; None while the race goes on."""
        last = self._qualified(archive, len(self.rungs) - 1) if self.rungs else self._arrived(archive, self._all, 1)
        if last is None or any(result.state is TrialState.PAUSED for result in last):
            return None
        return sorted(last, key=lambda result: (-result.merit, result.trial))[: self.finishers]

    def _is_behind(self, archive: Archive, progress: Progress) -> bool:
        """Whether most of those who take part were better at this epoch. Their children, which challengers are, learn about as
        fast as they do: losses after two and five of twenty epochs have a rank correlation of 0.85."""
        results = (archive.results.get(trial) for trial in self._all)
        others = [result.ranked[progress.epoch - 1] for result in results if result and _has_reached(result, progress.epoch)]
        return 2 * sum(other > progress.merit for other in others) > len(others)

    @property
    def _all(self) -> list[int]:
        return [*range(self.entrants), *self.challengers]

    def _qualified(self, archive: Archive, round_: int) -> list[Result] | None:
        """Trials that go on after the rung of that round, best first; None until all have reached it."""
        if round_ == 0:
            started = self._all
        else:
            before = self._qualified(archive, round_ - 1)
            if before is None:
                return None
            started = [result.trial for result in before]
        arrived = self._arrived(archive, started, self.rungs[round_])
        return None if arrived is None else _by_merit(arrived, self.rungs[round_])[: self._places(round_)]

    def _places(self, round_: int) -> int:
        """How many go on: the same share in each round."""
        share: float = (self.finishers / len(self._all)) ** ((round_ + 1) / len(self.rungs))
        return max(self.finishers, math.ceil(len(self._all) * share - 1e-9))

    @staticmethod
    def _arrived(archive: Archive, started: Iterable[int], rung: int) -> list[Result] | None:
        """Trials that started a round and reached its end; None while one is on its way. A failed trial is out."""
        results = [archive.results.get(trial) for trial in started]
        is_under_way = any(r is None or (r.state is TrialState.PAUSED and len(r.ranked) < rung) for r in results)
        return None if is_under_way else [r for r in results if r is not None and _has_reached(r, rung)]


def _has_reached(result: Result, rung: int) -> bool:
    """A trial that broke behind a rung is out, whatever it was worth there: it never comes to the end."""
    return result.state.has_score and not result.error and len(result.ranked) >= rung


def _by_merit(results: list[Result], rung: int) -> list[Result]:
    return sorted(results, key=lambda result: (-result.ranked[rung - 1], result.trial))
