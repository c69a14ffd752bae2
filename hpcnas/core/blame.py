"""Who is to blame if a group came to no result with a trial: the trial, or a rank of the group.

A trial that breaks whatever trains it must not break all ranks in turn. A rank on which everything fails must not fail all
trials in turn. A lost trial therefore goes to ranks that have not failed at it and are not in doubt themselves; doubtful ranks
get new trials meanwhile. As long as there are other ranks, each attempt at a trial is made by another one. Once a rank is left
out, its failures no longer count against trials. If others fail at the same trial, that clears the rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hpcnas.core.messages import Fault


class Crew(Protocol):
    """What blame must know about groups. If ranks may be lost, a ``Roster`` knows it."""

    left_out: set[int]
    """Sick ranks."""

    @property
    def is_empty(self) -> bool: ...

    def ranks(self, group: int) -> frozenset[int]: ...

    def is_doubtful(self, group: int) -> bool: ...

    def has_others(self, ranks: frozenset[int]) -> bool: ...

    def forgive(self, ranks: Iterable[int]) -> None: ...


class Strangers:
    """Stands in if nothing is known about groups but their numbers."""

    left_out: set[int] = set()
    is_empty = False

    def ranks(self, group: int) -> frozenset[int]:
        return frozenset((group,))

    def is_doubtful(self, group: int) -> bool:
        return False

    def has_others(self, ranks: frozenset[int]) -> bool:
        return False

    def forgive(self, ranks: Iterable[int]) -> None:
        pass


@dataclass(frozen=True)
class Failure:
    """One time that a group came to no result with a trial."""

    ranks: frozenset[int]
    """Who may be to blame beside the trial: the rank that raised, or all of the group if nobody knows which."""
    why: str
    fault: Fault


class Blame:
    """The failures of this job, kept for each trial until it has a result."""

    def __init__(self) -> None:
        self.crew: Crew = Strangers()
        self._failures: dict[int, list[Failure]] = {}
        self._forgiven: set[tuple[int, int]] = set()
        """Trials with the ranks that have failed at them through no fault of their own."""

    def note(self, trial: int, failure: Failure) -> None:
        """A group came to no result with the trial."""
        earlier = self._failures.setdefault(trial, [])
        self._forgive(trial, self._culprits(earlier) & self.crew.left_out - failure.ranks)
        earlier.append(failure)

    def attempts(self, trial: int) -> int:
        """How often the trial has broken a group through no known fault of a sick rank; if no rank is left, every failure
        counts."""
        failures = [failure for failure in self._failures.get(trial, ()) if failure.fault is not Fault.MEMORY]
        if self.crew.is_empty:
            return len(failures)
        return sum(failure.ranks.isdisjoint(self.crew.left_out) for failure in failures)

    def out_of_memory(self, trial: int) -> int:
        """How often there was too little memory for it."""
        return sum(failure.fault is Fault.MEMORY for failure in self._failures.get(trial, ()))

    def last_words(self, trial: int) -> str:
        """Why the trial failed the last time; empty if it has not in this job."""
        failures = self._failures.get(trial)
        return failures[-1].why if failures else ""

    def forget(self, trial: int) -> None:
        """It has a result."""
        if self._failures:
            self._failures.pop(trial, None)

    def convict(self, trial: int) -> None:
        """The trial is to blame, and not the ranks that failed at it."""
        self._forgive(trial, self._culprits(self._failures.pop(trial, ())))

    def suits(self, trial: int, group: int, at_last: bool) -> bool:
        """Whether the group may have the trial.

        Args:
            at_last: the group has nothing else to do; it may have the trial also if no better group exists.
        """
        failures = self._failures.get(trial)
        if not failures:
            return True
        tried = frozenset().union(*(failure.ranks for failure in failures))
        if tried.isdisjoint(self.crew.ranks(group)) and not self.crew.is_doubtful(group):
            return True
        return at_last and not self.crew.has_others(tried)

    def has_suspect(self, group: int) -> bool:
        """Whether some trials may be withheld from the group that another group would be given."""
        if not self._failures:
            return False
        ranks = self.crew.ranks(group)
        failed = (failure for failures in self._failures.values() for failure in failures)
        return self.crew.is_doubtful(group) or any(not failure.ranks.isdisjoint(ranks) for failure in failed)

    def _culprits(self, failures: Iterable[Failure]) -> set[int]:
        return {rank for one in failures if one.fault in (Fault.ERROR, Fault.STORAGE) for rank in one.ranks}

    def _forgive(self, trial: int, ranks: set[int]) -> None:
        ranks = {rank for rank in ranks if (trial, rank) not in self._forgiven}
        self._forgiven.update((trial, rank) for rank in ranks)
        self.crew.forgive(ranks)
