"""The coordinator: message in, reply out. Decides what is tried next and when the search is over.

Has never heard of MPI, torch or files; what it needs of them is handed to it as functions. What a message costs does not grow
with the archive or the number of groups, unless a part of the run looks at all trials (the ``adaptive`` combiner does).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.blame import Blame, Failure
from hpcnas.core.budget import Budget
from hpcnas.core.combiners import Average, Combiner
from hpcnas.core.handed_out import HandedOut
from hpcnas.core.ideas import Ideas
from hpcnas.core.inheritance import InheritanceRule, NoInheritance
from hpcnas.core.kept_weights import KeptWeights
from hpcnas.core.messages import Ahead, Assignment, Fault, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.second_tries import MAX_ATTEMPTS, SecondTries, given_back
from hpcnas.core.space import SearchSpace
from hpcnas.core.stopping import NeverStop, StoppingRule
from hpcnas.core.strategies import Strategy
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState, unscored
from hpcnas.core.tuning import NoTuner, Tuner

RECENT = 50
"""How long a trial takes is judged by so many latest ones."""


@dataclass
class Coordinator:
    """Answers leaders, one message at a time.

    Args:
        archive: what is known so far; trials in it without a result are handed out first, under their ids.
        tuner: chooses training settings beside the strategy's architectures; told of all results.
        starts: what is tried first, whether the space has it or not.
        combiner: says which earlier trials a new one forms an ensemble with, if any.
        measure: cost of an architecture; raises ArchitectureError if it cannot be built.
        record: makes an event permanent. A trial is recorded before it is sent, a result before it counts.
        discard: told of a trial whose weights nobody needs any more.
        progress: told of every epoch of a running trial.
        elapsed: seconds that the search has taken, those before a resume included.
        time_left: seconds until this job must have stopped training; the search goes on in a later job.
    """

    strategy: Strategy
    space: SearchSpace
    config: SearchConfig
    seed: int
    record: Callable[[Trial | Result], None]
    measure: Callable[[Architecture], Cost]
    budget: Budget = field(default_factory=Budget)
    inheritance: InheritanceRule = field(default_factory=NoInheritance)
    tuner: Tuner = field(default_factory=NoTuner)
    stopping: StoppingRule = field(default_factory=NeverStop)
    combiner: Combiner = field(default_factory=Average)
    starts: Sequence[Proposal] = ()
    archive: Archive = field(default_factory=Archive)
    stored: Callable[[int], bool] = lambda trial: True
    """Whether the weights of an earlier trial are there."""
    discard: Callable[[int], None] = lambda trial: None
    progress: Callable[[Progress], None] = lambda progress: None
    elapsed: Callable[[], float] = time.monotonic
    time_left: Callable[[], float] = lambda: math.inf
    blame: Blame = field(default_factory=Blame)
    suspended: bool = False
    """Set from outside when the job must end: every later answer is SUSPEND or Stop."""

    def __post_init__(self) -> None:
        self._again = SecondTries(self.archive.running, self.blame)
        self._running = HandedOut()
        there = {result.trial for result in self.archive.ranking if self.stored(result.trial)}
        self._weights = KeptWeights(self.archive, self.stopping, self.combiner, self.config.keep_weights, self.discard, there)
        self._ideas = Ideas(
            self.strategy, self.space, self.config, self.seed, self.measure, self.budget, self.tuner, self.combiner,
            self.starts, self.archive,
        )  # fmt: skip
        self._left: list[Assignment] = []
        """Suspended in this job; a later one goes on with them."""
        self._began: set[int] = set()
        """Groups that were given a trial in this job."""
        self._durations: deque[float] = deque(maxlen=RECENT)
        for result in self.archive.results.values():
            self.tuner.tell(self.archive.trials[result.trial], result)

    @property
    def ended(self) -> str:
        """Why no more new trials are begun; empty while the search goes on."""
        return self._ideas.ended

    @property
    def finished(self) -> bool:
        """Whether the search is over for good: nothing running and nothing left to begin."""
        return bool(self.ended) and not (self.suspended or self._left or self._running or self._again.waiting)

    @property
    def running(self) -> int:
        """Number of trials that groups have."""
        return len(self._running)

    def handle(self, message: Ready | Ahead | Progress) -> Assignment | Wait | Stop | Verdict | None:
        """The reply to ``message``, if it has one."""
        if isinstance(message, Progress):
            return self._judge(message)
        if isinstance(message, Ahead):
            return reply if isinstance(reply := self._next(message.group), Assignment) else None
        if message.result is not None and message.out_of_memory:
            ranks = self.blame.crew.ranks(message.group)
            self._fail(self._running.release(message.result.trial), Failure(ranks, message.result.error, Fault.MEMORY))
        elif message.result is not None:
            self._take(message.result)
        return None if self._running.goes_on(message.group, self.elapsed()) else self._next(message.group)

    def lose(self, group: int, why: str, fault: Fault = Fault.MATES, ranks: frozenset[int] | None = None) -> list[Trial]:
        """A group is no more; the trials that it had, which are returned, are given out again, unless the one that it trained
        has cost too many groups.

        Args:
            ranks: of the group, those that may be to blame.
        """
        assignments = self._running.lose(group)
        if assignments:
            self._fail(assignments[0], Failure(frozenset((group,)) if ranks is None else ranks, why, fault))
        self._again.waiting.extend(chosen.trial for chosen in assignments[1:] if not chosen.paused)
        return [assignment.trial for assignment in assignments]

    def _fail(self, assignment: Assignment, failure: Failure) -> None:
        """A group came to no result with a trial: another one may have it, unless it is the trial's fault."""
        if error := self._again.failed(assignment, failure):
            self._give_up(assignment, error)

    def _give_up(self, assignment: Assignment, error: str) -> None:
        """The trial has had its chances."""
        trial = assignment.trial
        self.blame.convict(trial.id)
        if assignment.paused:  # what it had reached still counts
            self._add(replace(assignment.paused, state=TrialState.STOPPED, error=error))
            return
        refusal = self._ideas.refusal(trial)
        self._add(refusal or unscored(trial, TrialState.FAILED, self.measure(trial.architecture), error))

    def _judge(self, progress: Progress) -> Verdict:
        took = self._running.moves_on(progress.trial, self.elapsed())
        self.progress(progress)
        if not self.suspended and took <= self.time_left():
            return self.stopping.judge(self.archive, progress)
        # Another epoch would not come to its end in this job.
        assignment = self._running.release(progress.trial)
        self._left.append(assignment)
        if progress.trial not in self.archive.results:
            self._add(given_back(assignment.trial))
        return Verdict.SUSPEND

    def _take(self, result: Result) -> None:
        self._running.release(result.trial)
        self.blame.forget(result.trial)
        before = self.archive.results.get(result.trial)
        self._add(result)
        if result.state.has_score:
            self._durations.append(result.seconds - (before.seconds if before else 0.0))
            self._weights.there.add(result.trial)
            if self._weights.may_have_piled_up:
                self._weights.sweep([*self._left, *self._running], self._again.waiting)

    def _next(self, group: int) -> Assignment | Wait | Stop:
        if self.suspended:
            return Stop("suspended")
        # A group's first trial is always begun, lest one that takes longer than a job never is.
        if group in self._began and self._durations and self.time_left() < median(self._durations):
            assignment = self._start(self._begin_again(group) or self._begin_again(group, at_last=True))
            if assignment is None:
                return Stop("suspended: the job's time is nearly up")
        else:
            assignment = (
                self._go_on(group)
                or self._start(self._begin_again(group) or self._begin() or self._begin_again(group, at_last=True))
                or (self._go_on(group, at_last=True) if self.blame.has_suspect(group) else None)
            )
            if assignment is None:
                return Stop(self.ended) if self.ended and not (self._running or self._again.waiting) else Wait()
        self._began.add(group)
        self._running.give(assignment, group, self.elapsed())
        return assignment

    def _go_on(self, group: int, at_last: bool = False) -> Assignment | None:
        """A paused trial that the stopping rule wants to see more of."""
        promoted = self.stopping.promote(
            self.archive, lambda trial: self._may_go_on(trial) and self.blame.suits(trial, group, at_last)
        )
        if promoted is None:
            return None
        return Assignment(self.archive.trials[promoted], paused=self.archive.results[promoted])

    def _may_go_on(self, trial: int) -> bool:
        needed = {trial, *self.archive.trials[trial].proposal.team}
        return trial not in self._running and needed <= self._weights.there

    def _start(self, trial: Trial | None) -> Assignment | None:
        if trial is None:
            return None
        donors = self.inheritance.donors(self.archive, trial)
        return Assignment(trial, tuple(donor for donor in donors if donor.trial.id in self._weights.there))

    def _begin_again(self, group: int, at_last: bool = False) -> Trial | None:
        """A trial that was cut off and suits the group, under its id and seed, unless it was cut off too often."""
        while (trial := self._again.take(group, at_last)) is not None:
            if trial.attempt <= MAX_ATTEMPTS:
                self._add(trial)
                return trial
            self._give_up(Assignment(trial), self._again.last_words(trial.id))
        return None

    def _begin(self) -> Trial | None:
        """The next new trial; None if it is not known yet or, with a reason in ``ended``, if there are no more."""
        while (trial := self._ideas.next(self.elapsed(), self._weights.there)) is not None:
            self._add(trial)
            if (refusal := self._ideas.refusal(trial)) is None:
                return trial
            self._add(refusal)
        return None

    def _add(self, event: Trial | Result) -> None:
        self.record(event)
        self.archive.add(event)
        if isinstance(event, Result):
            self.tuner.tell(self.archive.trials[event.trial], event)
