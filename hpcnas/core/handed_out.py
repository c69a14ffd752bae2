"""Which group has which trials: the one that it trains and, chosen ahead, the one that it will."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpcnas.core.messages import Assignment


@dataclass
class _Handed:
    assignment: Assignment
    group: int
    since: float
    """When it was begun, or when its last epoch ended."""


class HandedOut:
    """Assignments by their trials; times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._trials: dict[int, _Handed] = {}
        self._groups: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, trial: int) -> bool:
        return trial in self._trials

    def __iter__(self) -> Iterator[Assignment]:
        return (handed.assignment for handed in self._trials.values())

    def give(self, assignment: Assignment, group: int, now: float) -> None:
        """The group has the trial from now on."""
        self._groups.setdefault(group, []).append(assignment.trial.id)
        self._trials[assignment.trial.id] = _Handed(assignment, group, now)

    def goes_on(self, group: int, now: float) -> bool:
        """Whether the group has a trial, which it begins now."""
        trials = self._groups.get(group)
        if trials:
            self._trials[trials[0]].since = now
        return bool(trials)

    def moves_on(self, trial: int, now: float) -> float:
        """An epoch of the trial has ended; how long it took."""
        handed = self._trials[trial]
        took, handed.since = now - handed.since, now
        return took

    def release(self, trial: int) -> Assignment:
        """Its group has the trial no more."""
        handed = self._trials.pop(trial)
        self._groups[handed.group].remove(trial)
        return handed.assignment

    def lose(self, group: int) -> list[Assignment]:
        """The group is no more; what it had, the trial that it trained first."""
        return [self._trials.pop(trial).assignment for trial in self._groups.pop(group, ())]
