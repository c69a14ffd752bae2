"""Rank 0: forms groups, answers their leaders, sees to it that what is lost or hangs does not hold up the rest."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from mpi4py import MPI

from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Ahead, Alive, Fault, Form, Free, Gone, Leave, Progress, Ready, Stop, Wait
from hpcnas.core.roster import ClusterConfig, Roster
from hpcnas.runtime import groups
from hpcnas.runtime.channel import CONTROL, PLACE, REPLY, REQUEST, Backoff, arrived
from hpcnas.runtime.launch import EXIT_SUSPENDED
from hpcnas.runtime.worker import END, YIELD

logger = logging.getLogger(__name__)

_BATCH = 256
"""Messages that are answered together: their events share one write."""
_SETTLE_EVERY_S = 0.1
"""So long the disk may be behind; it takes as long for one event as for all that have come meanwhile."""
_LOOK_EVERY_S = 0.25
_FAREWELL_S = 20.0
"""So long rank 0 waits at the end for ranks that do not answer."""


class Server:
    """Serves all workers until no group is left.

    Args:
        control: a second communicator of all ranks, for wardens.
        goes_on: whether a lost group is no reason to end the job.
        commit: puts what the coordinator has recorded out of reach of a kill; called before any answer leaves.
        settle: puts it on disk and shows it; called now and then, when all are answered.
        on_groups: told of the number of groups whenever it changes.
    """

    def __init__(
        self,
        world: MPI.Intracomm,
        control: MPI.Comm,
        config: ClusterConfig,
        goes_on: bool,
        roster: Roster,
        coordinator: Coordinator,
        commit: Callable[[], None],
        settle: Callable[[], None],
        on_groups: Callable[[int], None],
    ) -> None:
        self._world, self._control, self._config, self._goes_on = world, control, config, goes_on
        self._roster, self._coordinator, self._on_groups = roster, coordinator, on_groups
        coordinator.blame.crew = roster
        self._commit, self._settle = commit, settle
        self._waiting: deque[int] = deque()
        """Groups whose question has no answer yet."""
        self._sending: dict[int, list[MPI.Request]] = {}
        self._home: set[int] = set()
        """Ranks that have said their last word."""
        self._unreachable: set[int] = set()
        """Given up, but as far as MPI knows not dead: stopped, perhaps, or on a node that does not answer."""
        self._left_out: set[int] = set()
        """Ranks of which it was said."""
        self._last_words = ""
        """Of the last rank whose group was lost."""
        self._settled = self._looked = time.monotonic()

    def serve(self) -> None:
        """Until every group was told to stop or is lost."""
        self._form()
        logger.info("%d group(s) on %d node(s)", len(self._roster.groups), self._roster.nodes)
        if self._roster.spare:
            logger.warning("rank(s) %s fill no group and stay idle", _ranks(self._roster.spare))
        backoff = Backoff()
        while not self._roster.is_idle:
            is_busy = self._answer()
            now = time.monotonic()
            if now - self._settled > _SETTLE_EVERY_S:
                self._settled = now
                self._settle()
            if now - self._looked > _LOOK_EVERY_S:
                self._looked = now
                self._look_after()
            if is_busy:
                backoff.reset()
            else:
                backoff.wait()
        for what, ranks in (("lost", self._roster.lost), ("left out", self._roster.left_out)):
            if ranks:
                logger.warning("%s in this job: rank(s) %s", what, self._who(ranks))
        if self._roster.is_empty and not self._coordinator.finished:
            logger.error("no rank is left that could train; the last one's group ended with: %s", self._last_words)

    def send_home(self, status: int) -> None:
        """Tell all ranks to leave with ``status``, and wait until they have heard it."""
        left = set(range(1, self._world.size)) - self._roster.lost
        for rank in left:
            self._send(rank, PLACE, Leave(status))
        deadline, backoff = time.monotonic() + _FAREWELL_S, Backoff()
        while left - self._roster.lost - self._home and time.monotonic() < deadline:
            if not self._hear():
                backoff.wait()
        if behind := (left - self._roster.lost - self._home) | self._unreachable:
            logger.warning("rank(s) %s do not answer; the job is ended without them", _ranks(behind))
            self._world.Abort(status)  # mpirun would wait for them

    def _answer(self) -> bool:
        """Take in what has arrived, record it, answer; whether there was anything."""
        heard = self._hear()
        answers: list[tuple[int, Any]] = []
        for rank, message in heard:
            answers += self._handle(rank, message)
        answers += self._ask_again()
        self._commit()
        for rank, answer in answers:
            self._send(rank, REPLY, answer)
        return bool(heard)

    def _hear(self) -> list[tuple[int, Any]]:
        """Messages that have arrived, with who sent them; takes note of ranks that died."""
        heard: list[tuple[int, Any]] = []
        status = MPI.Status()
        try:
            while len(heard) < _BATCH and (message := arrived(self._world, MPI.ANY_SOURCE, REQUEST, status)) is not None:
                heard.append((status.source, said := message.recv()))
                if isinstance(said, Gone):
                    self._home.add(status.source)
        except MPI.Exception:
            if not groups.is_fault_tolerant():
                raise
            dead = groups.lost_ranks(self._world)
            self._unreachable -= dead
            for rank in dead - self._roster.lost - self._home:
                logger.warning("rank %d is gone", rank)
                self._broken(self._roster.lose(rank), f"rank {rank} is gone")
        return heard

    def _handle(self, rank: int, message: Any) -> Iterable[tuple[int, Any]]:
        if isinstance(message, Free):
            why = f"rank {rank} on {self._roster.node(rank)}: {message.why}"
            self._broken(self._roster.free(rank, message.fault), why, message.fault, rank)
            return
        group = self._roster.group_of(rank)
        if group is None:
            return  # of a group that is no more
        self._roster.hear(group)
        if isinstance(message, Ahead) and self._waiting:
            return  # first come those that have nothing to do
        if isinstance(message, (Ready, Ahead, Progress)):
            yield from self._reply(group, message)
        else:
            assert isinstance(message, Alive), message

    def _reply(self, group: int, message: Ready | Ahead | Progress) -> Iterable[tuple[int, Any]]:
        ranks = self._roster.groups[group].ranks
        leader = ranks[0]
        if isinstance(message, Ready) and message.result is not None and message.result.state.has_score:
            self._roster.succeed(group)
        elif isinstance(message, Ready) and message.result is not None and message.out_of_memory:
            result = message.result
            logger.warning("too little memory for trial %d on rank(s) %s: %s", result.trial, self._who(ranks), result.error)
        answer = self._coordinator.handle(message)
        if isinstance(answer, Wait):
            self._roster.pause(group)
            self._waiting.append(group)
            return
        if isinstance(answer, Stop):
            self._roster.rest(group)
            self._roster.stop_waiting()
        if answer is not None:
            yield leader, answer

    def _ask_again(self) -> Iterable[tuple[int, Any]]:
        """Questions that had no answer, until one still has none."""
        for _ in range(len(self._waiting)):
            group = self._waiting.popleft()
            if group not in self._roster.groups:
                continue
            self._roster.hear(group)
            answers = list(self._reply(group, Ready(group)))
            if answers:
                yield from answers
            elif not self._coordinator.blame.has_suspect(group):
                self._waiting.rotate(1)  # it was put at the end, and keeps its place
                return

    def _broken(self, group: Form | None, why: str, fault: Fault = Fault.MATES, culprit: int | None = None) -> None:
        """What follows from a rank's leaving: its group's trial is given out again, free ranks form new groups."""
        if group is not None:
            if not self._goes_on:
                self._end_job(f"group {group.number} is lost: {why}")
            self._last_words = why
            blamed = group.ranks if fault is Fault.MATES or culprit is None else (culprit,)
            trials = self._coordinator.lose(group.number, why, fault, frozenset(blamed))
            what = "".join(f"; trial {trial.id} is given out again" for trial in trials)
            logger.warning("group %d (rank(s) %s) is lost: %s%s", group.number, _ranks(group.ranks), why, what)
        self._form()

    def _say_who_is_left_out(self) -> None:
        for rank in sorted(self._roster.left_out - self._left_out):
            logger.warning(
                "rank %d on %s is left out: it fails again and again; the other ranks go on", rank, self._roster.node(rank)
            )
        for rank in sorted(self._left_out - self._roster.left_out - self._roster.lost):
            logger.info("rank %d on %s trains again: it was the trial's fault", rank, self._roster.node(rank))
        self._left_out = set(self._roster.left_out)

    def _form(self) -> None:
        if self._left_out != self._roster.left_out:
            self._say_who_is_left_out()
        for group in self._roster.form():
            if self._roster.lost or self._roster.left_out:
                logger.info("group %d: rank(s) %s", group.number, _ranks(group.ranks))
            for rank in group.ranks:
                self._send(rank, PLACE, group)
        self._on_groups(len(self._roster.groups))

    def _look_after(self) -> None:
        """Groups that hang are broken up; ranks that do not come out of it are given up."""
        for group in self._roster.hung():
            why = f"no sign of life for {self._config.hang_limit_s:g} s"
            self._roster.break_up(group.number)
            for rank in group.ranks if self._goes_on else ():
                self._send(rank, CONTROL, (YIELD, group.number), self._control)
            self._broken(group, why)
        for rank in self._roster.stuck(self._config.hang_limit_s):
            logger.warning("rank %d does not come out of its group: it is ended", rank)
            self._send(rank, CONTROL, (END, 0), self._control)
            self._unreachable.add(rank)
            self._broken(self._roster.lose(rank), "")
        self._form()  # ranks may have recovered

    def _end_job(self, why: str) -> None:
        logger.error("%s; the job ends here, the same command with --resume goes on", why)
        self._settle()
        self._world.Abort(EXIT_SUSPENDED)

    def _send(self, rank: int, tag: int, message: Any, comm: MPI.Comm | None = None) -> None:
        """Send without waiting; that a rank is dead is noticed elsewhere."""
        try:
            under_way = [request for request in self._sending.get(rank, ()) if not request.Test()]
            self._sending[rank] = [*under_way, (comm or self._world).isend(message, dest=rank, tag=tag)]
        except MPI.Exception:
            if not groups.is_fault_tolerant():
                raise

    def _who(self, ranks: Iterable[int]) -> str:
        """Such as ``1-4 on node7, 9 on node8``."""
        by_node: dict[str, list[int]] = {}
        for rank in sorted(ranks):
            by_node.setdefault(self._roster.node(rank), []).append(rank)
        return ", ".join(f"{_ranks(of)} on {node}" for node, of in by_node.items())


def _ranks(ranks: Iterable[int]) -> str:
    """Such as ``1-4, 7``."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
