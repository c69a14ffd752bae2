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

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.blame import Blame, Failure
from hpcnas.core.budget import Budget
from hpcnas.core.checks import at_least
from hpcnas.core.combiners import Average
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.fitting import shrunk, widened
from hpcnas.core.inheritance import NoInheritance
from hpcnas.core.messages import Ahead, Assignment, Fault, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.metrics import OBJECTIVES
from hpcnas.core.space import SearchSpace
from hpcnas.core.stopping import NeverStop
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState
from hpcnas.core.tuning import NoTuner, Tuner

MAX_ATTEMPTS = 3
"""A trial that was handed out so often without a result is given up as failed; what a sick rank failed at does not count."""
MEMORY_ATTEMPTS = 2
"""One that ran out of memory so often is given up too."""
MAX_PROPOSALS = 500
"""Proposals drawn for one trial before the space within the budget counts as exhausted."""
RECENT = 50
"""How long a trial takes is judged by so many latest ones."""


RANKINGS = {"loss": OBJECTIVES["cross_entropy"], "objective": None}
"""What trials may be ranked by: logits and labels to a figure, higher is better; None: the search's objective."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How long a search goes on, and over which groups."""

    objective: str = "accuracy"
    """What the score is, on the validation split: ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``roc_area``,
    ``cross_entropy`` (negative), or one minus ``eer``, ``cavg``, ``pairwise_eer`` or ``misses``."""
    rank_by: str = "loss"
    """What decides which trials are varied, go on and come to the finals: ``loss``, the cross entropy on the validation split,
    which tells models apart of which a few hundred recordings are right or wrong alike; or ``objective``."""
    max_trials: int = 48
    """Trials in all, failed ones included."""
    suggestions: tuple[str, ...] = ()
    """Architectures that are tried first, whether the space has them or not, such as ``"gru:units=64/dense:units=64"``."""
    zoo: tuple[str, ...] = ("fitting",)
    """Models drawn by hand that are tried next: ``fitting`` means all of the zoo that are within the limits, and one of each
    other paper that can be made narrower until it is; else their names, such as ``TENet6``, or ``all``. Empty: none."""
    max_steps: int = 0
    """Optimiser steps of all finished trials together, after which no trial is begun; 0: no limit."""
    time_limit: float = 0.0
    """Seconds of search in all, resumed parts added up, after which no trial is begun; 0: none."""
    group_size: int = 1
    """MPI ranks that train one model together."""
    keep_weights: int = 50
    """Weights of so many best trials, and of as many latest ones, stay on disk, and those of as many that the stopping rule may
    let go on from each rung, beside those that it does; donors of running trials always do."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f'search.objective = "{self.objective}": unknown; known: {", ".join(OBJECTIVES)}')
        if self.rank_by not in RANKINGS:
            raise ConfigError(f'search.rank_by = "{self.rank_by}": unknown; known: {", ".join(RANKINGS)}')
        at_least(1, "search", max_trials=self.max_trials, group_size=self.group_size, keep_weights=self.keep_weights)
        at_least(0, "search", max_steps=self.max_steps, time_limit=self.time_limit)


@dataclass
class _Running:
    """A trial that a group has, and when it last moved on."""

    assignment: Assignment
    group: int
    since: float


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

    strategy: object
    space: SearchSpace
    config: SearchConfig
    seed: int
    record: Callable[[Trial | Result], None]
    measure: Callable[[Architecture], Cost]
    budget: Budget = field(default_factory=Budget)
    inheritance: object = field(default_factory=NoInheritance)
    tuner: Tuner = field(default_factory=NoTuner)
    stopping: object = field(default_factory=NeverStop)
    combiner: object = field(default_factory=Average)
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
        self._again = deque(self.archive.running)
        self._before = {trial.id: trial.attempt for trial in self._again}
        """Attempts of earlier jobs at trials that have no result yet."""
        self._running: dict[int, _Running] = {}
        self._weights = {r.trial for r in self.archive.ranking if self.stored(r.trial)}
        self._sweep_at = 0
        self._groups: dict[int, list[int]] = {}
        """Trials that each group has: the one that it trains and, chosen ahead, the one that it will."""
        self._left: list[Assignment] = []
        """Suspended in this job; a later one goes on with them."""
        self._began: set[int] = set()
        """Groups that were given a trial in this job."""
        self._durations: deque[float] = deque(maxlen=RECENT)
        for result in self.archive.results.values():
            self.tuner.tell(self.archive.trials[result.trial], result)
        self.ended = ""
        """Why no more trials are begun; empty while the search goes on."""

    @property
    def finished(self) -> bool:
        """Whether the search is over for good: nothing running and nothing left to begin."""
        return bool(self.ended) and not (self.suspended or self._left or self._running or self._again)

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
            self._fail(self._release(message.result.trial), Failure(ranks, message.result.error, Fault.MEMORY))
        elif message.result is not None:
            self._take(message.result)
        if chosen := self._groups.get(message.group):
            self._running[chosen[0]].since = self.elapsed()
            return None
        return self._next(message.group)

    def lose(self, group: int, why: str, fault: Fault = Fault.MATES, ranks: frozenset[int] | None = None) -> list[Trial]:
        """A group is no more; the trials that it had, which are returned, are given out again, unless the one that it trained
        has cost too many groups.

        Args:
            ranks: of the group, those that may be to blame.
        """
        assignments = [self._running.pop(trial).assignment for trial in self._groups.pop(group, ())]
        if assignments:
            self._fail(assignments[0], Failure(frozenset((group,)) if ranks is None else ranks, why, fault))
        self._again.extend(chosen.trial for chosen in assignments[1:] if not chosen.paused)
        return [assignment.trial for assignment in assignments]

    def _fail(self, assignment: Assignment, failure: Failure) -> None:
        """A group came to no result with a trial: another one may have it, unless it is the trial's fault."""
        id_ = assignment.trial.id
        self.blame.note(id_, failure)
        if (times := self.blame.out_of_memory(id_)) >= MEMORY_ATTEMPTS:
            self._give_up(assignment, f"out of memory, tried {times} times: {failure.why}")
        elif self._attempts(id_) >= MAX_ATTEMPTS:
            self._give_up(assignment, self._broken(id_))
        elif not assignment.paused:
            self._again.append(assignment.trial)

    def _attempts(self, trial: int) -> int:
        """How often it was begun in vain, through no fault of others."""
        return self._before.get(trial, 0) + self.blame.attempts(trial)

    def _give_up(self, assignment: Assignment, error: str) -> None:
        """The trial has had its chances."""
        trial = assignment.trial
        self.blame.convict(trial.id)
        if assignment.paused:  # what it had reached still counts
            self._add(replace(assignment.paused, state=TrialState.STOPPED, error=error))
            return
        refusal = self._refusal(trial)
        self._add(refusal or unscored(trial, TrialState.FAILED, self.measure(trial.architecture), error))

    def _judge(self, progress: Progress) -> Verdict:
        running = self._running[progress.trial]
        took, running.since = self.elapsed() - running.since, self.elapsed()
        self.progress(progress)
        if not self.suspended and took <= self.time_left():
            return self.stopping.judge(self.archive, progress)
        # Another epoch would not come to its end in this job.
        self._release(progress.trial)
        self._left.append(running.assignment)
        if progress.trial not in self.archive.results:
            self._add(given_back(running.assignment.trial))
        return Verdict.SUSPEND

    def _release(self, trial: int) -> Assignment:
        """Its group has it no more."""
        running = self._running.pop(trial)
        self._groups[running.group].remove(trial)
        return running.assignment

    def _take(self, result: Result) -> None:
        self._release(result.trial)
        self.blame.forget(result.trial)
        before = self.archive.results.get(result.trial)
        self._add(result)
        if result.state.has_score:
            self._durations.append(result.seconds - (before.seconds if before else 0.0))
            self._weights.add(result.trial)
            self._discard_weights()

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
                return Stop(self.ended) if self.ended and not (self._running or self._again) else Wait()
        self._began.add(group)
        self._groups.setdefault(group, []).append(assignment.trial.id)
        self._running[assignment.trial.id] = _Running(assignment, group, self.elapsed())
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
        return trial in self._weights and trial not in self._running and self._weights.issuperset(self._team(trial))

    def _team(self, id_: int) -> tuple[int, ...]:
        return self.archive.trials[id_].proposal.team

    def _start(self, trial: Trial | None) -> Assignment | None:
        if trial is None:
            return None
        donors = self.inheritance.donors(self.archive, trial)
        return Assignment(trial, tuple(donor for donor in donors if donor.trial.id in self._weights))

    def _begin_again(self, group: int, at_last: bool = False) -> Trial | None:
        """A trial that was cut off and suits the group, under its id and seed, unless it was cut off too often."""
        place = 0
        while place < len(self._again):
            trial = self._again[place]
            if not self.blame.suits(trial.id, group, at_last):
                place += 1
                continue
            del self._again[place]
            if (attempts := self._attempts(trial.id)) < MAX_ATTEMPTS:
                trial = replace(trial, attempt=attempts + 1)
                self._add(trial)
                return trial
            self._give_up(Assignment(trial), self._broken(trial.id))
        return None

    def _broken(self, trial: int) -> str:
        last = self.blame.last_words(trial)
        return f"cut off {MAX_ATTEMPTS} times" + (f", the last time: {last}" if last else "")

    def _begin(self) -> Trial | None:
        """The next new trial; None if it is not known yet or, with a reason in ``ended``, if the search is over."""
        while not self.ended:
            id_ = self.archive.next_id
            entropy = np.random.SeedSequence([self.seed, id_])
            if id_ >= self.config.max_trials:
                self.ended = f"all {self.config.max_trials} trials begun"
            elif 0 < self.config.max_steps <= self.archive.steps:
                self.ended = f"{self.archive.steps} training steps done, of {self.config.max_steps}"
            elif 0 < self.config.time_limit <= self.elapsed():
                self.ended = f"time limit of {self.config.time_limit:g} s reached"
            elif (proposal := self._given(id_) or self._proposal(entropy)) is None:
                return None
            else:
                trial = Trial(id_, self._completed(proposal, id_), seed=int(entropy.generate_state(1)[0]))
                self._add(trial)
                if (refusal := self._refusal(trial)) is None:
                    return trial
                self._add(refusal)
        return None

    def _given(self, id_: int) -> Proposal | None:
        """What this trial is to begin with, if anything is left of that."""
        return self._fitted(self.starts[id_]) if id_ < len(self.starts) else None

    def _completed(self, proposal: Proposal, id_: int) -> Proposal:
        """With the settings and the team that the strategy has left to others."""
        settings = proposal.settings or self.tuner.suggest(id_)
        team = proposal.team or tuple(i for i in self.combiner.team(self.archive, id_) if i in self._weights)
        return replace(proposal, settings=settings, team=team) if settings or team else proposal

    def _proposal(self, entropy: np.random.SeedSequence) -> Proposal | None:
        """What the strategy wants to be tried next: new and within the budget, or not to be built at all; else None."""
        rng = np.random.default_rng(entropy)
        for refused in range(MAX_PROPOSALS):
            proposal = self.strategy.propose(self.archive, self.space, rng, refused)
            if proposal is None or proposal.given or proposal.again:
                return proposal
            proposal = self._fitted(proposal)
            if not self.archive.seen(proposal.architecture) and self._within_budget(proposal.architecture):
                return proposal
        self.ended = f"no new architecture within the budget in {MAX_PROPOSALS} proposals"
        return None

    def _fitted(self, proposal: Proposal) -> Proposal:
        """The same within the budget, if a narrower tower of its shape is; as wide as the budget allows if it wants to be."""
        if not (self.space.fit and self.budget.is_limited):
            return proposal
        tower = (widened if proposal.fills else shrunk)(proposal.architecture, self.space, self._within_budget)
        if tower is None or tower == proposal.architecture:
            return proposal
        return replace(proposal, architecture=tower, mutation=f"{proposal.mutation}, scaled")

    def _within_budget(self, architecture: Architecture) -> bool:
        """True too for what cannot be built: that is for its trial to say."""
        try:
            return not self.budget.objection(self.measure(architecture))
        except ArchitectureError:
            return True

    def _refusal(self, trial: Trial) -> Result | None:
        """The result of a trial on which no training must be spent."""
        try:
            cost = self.measure(trial.architecture)
        except ArchitectureError as error:
            return unscored(trial, TrialState.FAILED, Cost(0, 0, 0), str(error))
        objection = "" if trial.proposal.given else self.budget.objection(cost)
        return unscored(trial, TrialState.INFEASIBLE, cost, objection) if objection else None

    def _add(self, event: Trial | Result) -> None:
        self.record(event)
        self.archive.add(event)
        if isinstance(event, Result):
            self.tuner.tell(self.archive.trials[event.trial], event)

    def _discard_weights(self) -> None:
        """Let go of weights that nobody wants; only when enough may have piled up, since looking for them takes its time."""
        if len(self._weights) < self._sweep_at:
            return
        wanted = self._wanted_weights()
        for trial in self._weights - wanted:
            self.discard(trial)
        self._weights &= wanted
        self._sweep_at = len(self._weights) + max(1, len(self._weights) // 4)

    def _wanted_weights(self) -> set[int]:
        """Trials whose weights somebody may start from."""
        keep = self.config.keep_weights
        assignments = [*self._left, *(running.assignment for running in self._running.values())]
        wanted = {result.trial for result in self.archive.ranking[:keep]}
        wanted.update(self.stopping.candidates(self.archive, keep))
        wanted.update(result.trial for result in self.archive.latest(keep))
        wanted.update(donor.trial.id for assignment in assignments for donor in assignment.donors)
        wanted.update(assignment.trial.id for assignment in assignments if assignment.paused)
        wanted.update(trial.proposal.parent for trial in self._again if trial.proposal.parent is not None)
        wanted.update(mate for assignment in assignments for mate in assignment.trial.proposal.team)
        wanted.update(mate for trial in self._again for mate in trial.proposal.team)
        paused = [i for i in self._weights if self.archive.results[i].state is TrialState.PAUSED]
        wanted.update(mate for i in paused for mate in self._team(i))
        wanted.update(self.combiner.pool(self.archive))
        return wanted


def given_back(trial: Trial) -> Trial:
    """The trial as it was before it was handed out: that it was cut off by the job's end is no failed attempt."""
    return replace(trial, attempt=trial.attempt - 1)


def unscored(trial: Trial, state: TrialState, cost: Cost, error: str) -> Result:
    """The result of a trial that was not trained."""
    return Result(trial.id, state, float("nan"), float("nan"), cost, 0, 0, 0, 0.0, 0, error=error)
