"""Trials that were begun and have no result: which group may have each of them next, and when one has had its chances."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from hpcnas.core.blame import Blame, Failure
from hpcnas.core.messages import Assignment
from hpcnas.core.trial import Trial

MAX_ATTEMPTS = 3
"""A trial that was handed out so often without a result is given up as failed; what a sick rank failed at does not count."""
MEMORY_ATTEMPTS = 2
"""One that ran out of memory so often is given up too."""


class SecondTries:
    """Trials to be begun again, oldest first.

    Args:
        cut_off: trials of earlier jobs without a result.
        blame: who failed at which trial in this job.
    """

    def __init__(self, cut_off: Iterable[Trial], blame: Blame) -> None:
        self.waiting = deque(cut_off)
        self._blame = blame
        self._before = {trial.id: trial.attempt for trial in self.waiting}
        """Attempts of earlier jobs."""

    def failed(self, assignment: Assignment, failure: Failure) -> str:
        """A group came to no result with a trial, which waits for another group now; or else why it is given up."""
        id_ = assignment.trial.id
        self._blame.note(id_, failure)
        if (times := self._blame.out_of_memory(id_)) >= MEMORY_ATTEMPTS:
            return f"out of memory, tried {times} times: {failure.why}"
        if self._attempts(id_) >= MAX_ATTEMPTS:
            return self.last_words(id_)
        if not assignment.paused:  # the stopping rule knows of it
            self.waiting.append(assignment.trial)
        return ""

    def take(self, group: int, at_last: bool = False) -> Trial | None:
        """The first trial that suits the group, as its next attempt, which may be one too many.

        Args:
            at_last: there is nothing else for the group to do.
        """
        for place, trial in enumerate(self.waiting):
            if self._blame.suits(trial.id, group, at_last):
                del self.waiting[place]
                return replace(trial, attempt=self._attempts(trial.id) + 1)
        return None

    def last_words(self, trial: int) -> str:
        """What is recorded of a trial that was tried too often."""
        last = self._blame.last_words(trial)
        return f"cut off {MAX_ATTEMPTS} times" + (f", the last time: {last}" if last else "")

    def _attempts(self, trial: int) -> int:
        """How often it was begun in vain, through no fault of others."""
        return self._before.get(trial, 0) + self._blame.attempts(trial)


def given_back(trial: Trial) -> Trial:
    """The trial as it was before it was handed out: that it was cut off by the job's end is no failed attempt."""
    return replace(trial, attempt=trial.attempt - 1)
