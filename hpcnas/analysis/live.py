"""A running search as its journal shows it: read on from where the last look ended, a few kilobytes each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import rank_key
from hpcnas.core.trial import Result, Trial
from hpcnas.store import running_file
from hpcnas.store.journal_reader import Tail

RECENT = 50
"""Results that the rate is taken over."""


@dataclass(frozen=True)
class GroupNow:
    """What a group has done; which trial it trains now is not in the journal.

    Args:
        trained_s: of all its results.
        quiet_s: since its last result.
    """

    group: int
    trials: int
    trained_s: float
    quiet_s: float
    last: Result


@dataclass(frozen=True)
class RunningNow:
    """A trial that was handed out and has no result yet.

    Args:
        age_s: since it was handed out.
        curve: score after each epoch so far, some seconds old.
        parent_score: what its parent reached, NaN if it has none.
    """

    trial: Trial
    age_s: float
    curve: Sequence[float]
    parent_score: float


@dataclass(frozen=True)
class Now:
    """One look.

    Args:
        elapsed_s: search time by now; while nothing happens it is guessed from the clock, unless the run is complete.
        quiet_s: since the newest event; a search that has ended without being complete is quiet for long.
        per_minute: results a minute, over the last ``RECENT``.
        end_in_s: until the configured number of trials, steps or seconds at that pace, whichever is first; NaN: not known.
        limit: which of them.
    """

    is_complete: bool
    elapsed_s: float
    quiet_s: float
    trials: int
    of_trials: int
    steps: int
    per_minute: float
    end_in_s: float
    limit: str
    groups: Sequence[GroupNow]
    running: Sequence[RunningNow]
    recent: Sequence[tuple[Trial, Result]]
    """The newest results, newest first."""
    best: tuple[Trial, Result] | None


class Watcher:
    """Looks at a run again and again; ``look`` reads what is new and nothing else."""

    def __init__(self, run: ConfiguredRun, clock: Callable[[], float] = time.time) -> None:
        self.run, self._clock = run, clock
        self._tail = Tail(run.dir.search.journal)
        self._trials: dict[int, Trial] = {}
        self._results: dict[int, Result] = {}
        self._running: dict[int, float] = {}
        self._curves: running_file.Curves = {}
        self._best: Result | None = None
        self._steps = 0
        self._recent: list[tuple[float, Result]] = []
        self._groups: dict[int, tuple[float, int, float, Result]] = {}
        self._newest_s = self._seen_at = 0.0

    def look(self) -> Now:
        """Raises RunError if the journal is damaged."""
        self._curves = running_file.load(self.run.dir.search.running)
        records = self._tail.read()
        for record in records:
            self._take(record.elapsed, record.event)
        if records:
            self._newest_s = records[-1].elapsed
            self._seen_at = min(self._clock(), self._tail.path.stat().st_mtime)
        is_complete = self.run.dir.search.complete.exists()
        quiet_s = max(0.0, self._clock() - self._seen_at) if self._seen_at else 0.0
        elapsed_s = self._newest_s + (0.0 if is_complete else quiet_s)
        end_in_s, limit = self._end(elapsed_s)
        best = self._best
        return Now(
            is_complete=is_complete,
            elapsed_s=elapsed_s,
            quiet_s=quiet_s,
            trials=len(self._results),
            of_trials=int(self._limit("max_trials")),
            steps=self._steps,
            per_minute=60 * self._rate(lambda: len(self._recent[-RECENT:]) - 1, elapsed_s),
            end_in_s=0.0 if is_complete else end_in_s,
            limit=limit,
            groups=[
                GroupNow(group, trials, trained_s, elapsed_s - at, last)
                for group, (at, trials, trained_s, last) in sorted(self._groups.items())
            ],
            running=[self._running_now(trial, elapsed_s) for trial in sorted(self._running)],
            recent=[(self._trials[result.trial], result) for _, result in reversed(self._recent[-RECENT:])],
            best=(self._trials[best.trial], best) if best else None,
        )

    def _take(self, elapsed: float, event: Trial | Result) -> None:
        if isinstance(event, Trial):
            self._trials[event.id] = event
            self._running[event.id] = elapsed
            return
        before = self._results.get(event.trial)  # of a paused trial, which went on
        self._running.pop(event.trial, None)
        self._results[event.trial] = event
        self._steps += event.steps - (before.steps if before else 0)
        if before is not None and before is self._best:
            self._best = min((r for r in self._results.values() if r.state.has_score), key=rank_key, default=None)
        elif event.state.has_score:
            self._best = event if self._best is None else min(self._best, event, key=rank_key)
        if event.epochs:  # the others never came to a group
            own_s = event.seconds - (before.seconds if before else 0.0)
            _, trials, trained_s, _ = self._groups.get(event.group, (0.0, 0, 0.0, None))
            self._groups[event.group] = (elapsed, trials + 1, trained_s + own_s, event)
            self._recent.append((elapsed, event))
            del self._recent[: -2 * RECENT]

    def _running_now(self, id_: int, elapsed_s: float) -> RunningNow:
        trial = self._trials[id_]
        origin = trial.proposal.parent
        parent = None if origin is None else self._results.get(origin)
        curve = self._curves.get(id_, ())
        return RunningNow(trial, elapsed_s - self._running[id_], curve, parent.score if parent else float("nan"))

    def _limit(self, key: str) -> float:
        return self.run.config.get("search", {}).get(key, 0)

    def _rate(self, amount: Callable[[], float], elapsed_s: float) -> float:
        """Per second, from the first of the recent results until now; NaN before there are three."""
        recent = self._recent[-RECENT:]
        span_s = elapsed_s - recent[0][0] if len(recent) > 2 else 0.0
        return amount() / span_s if span_s > 0 else float("nan")

    def _end(self, elapsed_s: float) -> tuple[float, str]:
        """Seconds until the first of the search's limits, and its key; NaN without a pace or a limit."""
        recent = [result for _, result in self._recent[-RECENT:]]
        paces = {
            "max_trials": (len(self._results), self._rate(lambda: len({r.trial for r in recent[1:]}), elapsed_s)),
            "max_steps": (self._steps, self._rate(lambda: sum(r.steps for r in recent[1:]), elapsed_s)),
            "time_limit": (elapsed_s, 1.0),
        }
        ends = [
            (max(0.0, self._limit(key) - done) / pace, key)
            for key, (done, pace) in paces.items()
            if self._limit(key) and pace == pace and pace > 0
        ]
        return min(ends, default=(float("nan"), ""))
