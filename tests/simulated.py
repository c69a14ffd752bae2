"""A cluster in simulated time: the real coordinator and roster, told what ranks say as ``runtime/server.py`` tells them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Assignment, Fault, Form, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.roster import Roster
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.space import BlockType, SearchSpace
from hpcnas.core.strategies import RandomSearch
from hpcnas.core.trial import Cost, Result, Trial, TrialState

WIDE = SearchSpace((BlockType("dense", "sequence", {"units": tuple(range(1, 41))}, ""),), max_depth=5)


@dataclass(frozen=True)
class Fails:
    """What becomes of a group with a trial: that rank of it fails."""

    rank: int
    fault: Fault = Fault.ERROR
    after_s: float = 0.3
    is_killed: bool = False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Cluster:
    """Ranks 1 and up train, one letter a rank: its node.

    Args:
        fate: how a group fares with a trial; None: it has a result after ``epoch_s`` times its epochs.
        curves: scores of a trial after each epoch.
    """

    nodes: str
    fate: Callable[[Form, Trial], Fails | None] = lambda group, trial: None
    group_size: int = 1
    epoch_s: Callable[[Trial], float] = lambda trial: 5.0
    curves: Callable[[Trial], Sequence[float]] = lambda trial: (0.5,)
    events: list[Trial | Result] = field(default_factory=list)

    def coordinator(self, max_trials: int, **parts: object) -> Coordinator:
        config = SearchConfig(max_trials=max_trials, keep_weights=parts.pop("keep_weights", 50))
        return Coordinator(
            strategy=RandomSearch(), space=WIDE, config=config, seed=0, record=self.events.append,
            measure=lambda architecture: Cost(1, 1, 1), elapsed=self.clock, **parts,
        )  # fmt: skip

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.roster = Roster(self.nodes, self.group_size, 600, self.clock)
        self._to_come: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._waiting: deque[int] = deque()

    def run(self, coordinator: Coordinator, limit_s: float = 1e6) -> Coordinator:
        """Until nobody trains and nobody is about to."""
        self._coordinator = coordinator
        coordinator.blame.crew = self.roster
        self._form()
        while not self.roster.is_idle:
            if self._to_come:
                self.clock.now, _, happen = heapq.heappop(self._to_come)
                happen()
            else:
                self.clock.now += 1.0  # somebody recovers
            self._form()
            for _ in range(len(self._waiting)):
                group = self._waiting.popleft()
                if group in self.roster.groups and not self._ask(Ready(group)) and not coordinator.blame.has_suspect(group):
                    self._waiting.rotate(1)
                    break
            assert self.clock.now < limit_s, "it hangs"
        return coordinator

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._to_come, (self.clock.now + seconds, next(self._order), happen))

    def _form(self) -> None:
        for group in list(self.roster.form()):
            self._ask(Ready(group.number))

    def _ask(self, message: Ready) -> bool:
        """Whether there was an answer."""
        group = message.group
        if message.result is not None and message.result.state.has_score:
            self.roster.succeed(group)
        answer = self._coordinator.handle(message)
        if isinstance(answer, Wait):
            self._waiting.append(group)
        elif isinstance(answer, Stop):
            self.roster.rest(group)
            self.roster.stop_waiting()
        else:
            self._train(self.roster.groups[group], answer)
        return not isinstance(answer, Wait)

    def _train(self, group: Form, given: Assignment) -> None:
        fate = self.fate(group, given.trial)
        if fate is None:
            curve = given.paused.curve if given.paused else ()
            self._epoch(group, given, self.curves(given.trial)[: len(curve) + 1])
        elif fate.fault is Fault.MEMORY and len(group.ranks) == 1:
            result = _result(given, TrialState.FAILED, (), "no room")
            self._after(fate.after_s, lambda: self._ask(Ready(group.number, result, out_of_memory=True)))
        else:
            self._after(fate.after_s, lambda: self._fail(group, fate))

    def _epoch(self, group: Form, given: Assignment, curve: Sequence[float]) -> None:
        whole = self.curves(given.trial)

        def done() -> None:
            state = TrialState.COMPLETED
            if len(curve) < len(whole):
                verdict = self._coordinator.handle(Progress(given.trial.id, tuple(curve)))
                if verdict is Verdict.CONTINUE:
                    return self._epoch(group, given, whole[: len(curve) + 1])
                state = TrialState.PAUSED if verdict is Verdict.PAUSE else TrialState.STOPPED
            self._ask(Ready(group.number, _result(given, state, tuple(curve))))

        self._after(self.epoch_s(given.trial), done)

    def _fail(self, group: Form, fate: Fails) -> None:
        broken = self.roster.lose(fate.rank) if fate.is_killed else self.roster.free(fate.rank, fate.fault)
        blamed = group.ranks if fate.fault is Fault.MATES or fate.is_killed else (fate.rank,)
        fault = Fault.MATES if fate.is_killed else fate.fault
        self._coordinator.lose(broken.number, f"rank {fate.rank}: {fate.fault.value}", fault, frozenset(blamed))
        for mate in set(group.ranks) - {fate.rank}:
            self._after(0.1, lambda mate=mate: self.roster.free(mate, Fault.MATES))


def _result(given: Assignment, state: TrialState, curve: tuple[float, ...], error: str = "") -> Result:
    score = curve[-1] if curve else float("nan")
    return Result(given.trial.id, state, score, 1.0, Cost(1, 1, 1), len(curve), 1, 0, 1.0, 0, curve, error)
