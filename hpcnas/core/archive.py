"""The shared archive: every trial handed out and every result, as the coordinator and the tools see it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from hpcnas.core.architecture import Architecture
from hpcnas.core.trial import Result, Trial, TrialState


class Archive:
    """All trials and results of a run; the same events in the same order make the same archive.

    It also knows what is running, so that no architecture is tried twice, not even at the same time. It is made for 100,000
    trials: it keeps the lists that every message asks for in order, so that nothing is searched for.
    """

    def __init__(self, events: Iterable[Trial | Result] = ()) -> None:
        self.trials: dict[int, Trial] = {}
        self.results: dict[int, Result] = {}
        self._seen: set[Architecture] = set()
        self._next_id = 0
        self._ranking: list[Result] = []
        self._keys: list[tuple[float, float, int]] = []
        """Of the ranking, in its order."""
        self._after: dict[int, list[tuple[float, int]]] = {}
        self._paused: dict[int, list[tuple[float, int]]] = {}
        self._steps = 0
        for event in events:
            self._note(event)
        # Sorted once, not event by event.
        self._ranking = sorted((r for r in self.results.values() if r.state.has_score), key=rank_key)
        self._keys = list(map(rank_key, self._ranking))
        for result in self._ranking:
            for entries, entry in self._indices(result):
                entries.append(entry)
        for entries in self._paused.values():
            entries.sort()

    def add(self, event: Trial | Result) -> None:
        """Add a result, or a trial that is handed out; a trial without a result may be handed out again."""
        before = self._note(event)
        if before is not None and before.state.has_score:
            place = bisect_left(self._keys, rank_key(before))
            del self._ranking[place], self._keys[place]
            for entries, entry in self._indices(before):
                del entries[bisect_left(entries, entry)]
        if isinstance(event, Result) and event.state.has_score:
            place = bisect_left(self._keys, key := rank_key(event))
            self._ranking.insert(place, event)
            self._keys.insert(place, key)
            for entries, entry in self._indices(event):
                insort(entries, entry)

    def _note(self, event: Trial | Result) -> Result | None:
        """Take in an event, but for its place in the ordered lists; returns the earlier result of a trial that was paused."""
        if isinstance(event, Trial):
            self.trials[event.id] = event
            self._seen.add(event.architecture)
            self._next_id = max(self._next_id, event.id + 1)
            return None
        before = self.results.pop(event.trial, None)
        self._steps += event.steps - (before.steps if before else 0)
        self.results[event.trial] = event
        return before

    def _indices(self, result: Result) -> Iterator[tuple[list[tuple[float, int]], tuple[float, int]]]:
        """The ordered lists that a scored result stands in, with its entry."""
        for epoch, entries in self._after.items():
            if len(result.ranked) >= epoch:
                yield entries, (-result.ranked[epoch - 1], result.trial)
        if result.state is TrialState.PAUSED:
            yield self._paused.setdefault(len(result.ranked), []), (-result.ranked[-1], result.trial)

    @property
    def running(self) -> list[Trial]:
        """Trials without a result, oldest first; after a restart these are the ones to run again."""
        return [trial for id_, trial in sorted(self.trials.items()) if id_ not in self.results]

    @property
    def ranking(self) -> list[Result]:
        """Scored results, best first."""
        return self._ranking

    @property
    def steps(self) -> int:
        """Optimiser steps of all results."""
        return self._steps

    @property
    def next_id(self) -> int:
        return self._next_id

    def seen(self, architecture: Architecture) -> bool:
        """Whether the architecture was tried or is running."""
        return architecture in self._seen

    def best(self, k: int | None = 1) -> list[Trial]:
        """The ``k`` best trials, or fewer while fewer have a score; None: all with a score."""
        return [self.trials[result.trial] for result in self._ranking[:k]]

    def latest(self, k: int) -> list[Result]:
        """The ``k`` latest results with a score, newest first."""
        return list(islice((result for result in reversed(self.results.values()) if result.state.has_score), k))

    def after(self, epoch: int) -> Sequence[tuple[float, int]]:
        """All scored trials that have reached ``epoch`` epochs, best first: each minus its merit at that epoch, and its
        number."""
        if epoch not in self._after:
            reached = (result for result in self._ranking if len(result.ranked) >= epoch)
            self._after[epoch] = sorted((-result.ranked[epoch - 1], result.trial) for result in reached)
        return self._after[epoch]

    def paused(self) -> dict[int, list[tuple[float, int]]]:
        """Paused trials by their number of epochs, best first: each minus its merit, and its number."""
        return self._paused

    def lineage(self, id_: int) -> list[Trial]:
        """From the first architecture to trial ``id_``, each the parent of the next."""
        line = [self.trials[id_]]
        while (parent := line[0].proposal.parent) is not None:
            line.insert(0, self.trials[parent])
        return line


def rank_key(result: Result) -> tuple[float, float, int]:
    """Order of results, best first: merit, then the lower loss, then the older trial."""
    return -result.merit, result.loss, result.trial
