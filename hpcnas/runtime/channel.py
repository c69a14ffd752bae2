"""Messages over MPI. Whoever waits sleeps: a blocking receive burns a core for a week."""

from __future__ import annotations

import time
from typing import Any

from mpi4py import MPI

from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Assignment, Progress, Ready, Stop, Verdict, Wait

_REQUEST, _REPLY, _ORDER = 1, 2, 3


class Backoff:
    """A pause between two looks that doubles up to ``longest`` seconds while nothing comes."""

    def __init__(self, longest: float = 0.005) -> None:
        self._longest = longest
        self.reset()

    def reset(self) -> None:
        self._pause = 5e-5

    def wait(self) -> None:
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, self._longest)


def receive(comm: MPI.Comm, source: int, tag: int) -> Any:
    """The next message from ``source``."""
    backoff = Backoff()
    while (message := comm.improbe(source, tag)) is None:
        backoff.wait()
    return message.recv()


def meet(comm: MPI.Comm) -> None:
    """A barrier that sleeps."""
    request, backoff = comm.Ibarrier(), Backoff(longest=0.05)
    while not request.Test():
        backoff.wait()


class LeaderChannel:
    """A leader's line to the coordinator."""

    def __init__(self, world: MPI.Comm) -> None:
        self._world = world

    def ask(self, message: Ready | Progress) -> Assignment | Wait | Stop | Verdict:
        self._world.send(message, dest=0, tag=_REQUEST)
        return receive(self._world, 0, _REPLY)


class LocalChannel:
    """The same, where coordinator and leader share the process."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def ask(self, message: Ready | Progress) -> Assignment | Wait | Stop | Verdict:
        return self._coordinator.handle(message)


class GroupChannel:
    """Leader to members: what the whole group must know before its next collective step."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self._sending: list[MPI.Request] = []

    @property
    def is_leader(self) -> bool:
        return self._comm.rank == 0

    def tell(self, order: Any) -> Any:
        """Leader: send ``order`` to every member, and return it."""
        MPI.Request.Waitall(self._sending)
        self._sending = [self._comm.isend(order, dest=member, tag=_ORDER) for member in range(1, self._comm.size)]
        return order

    def hear(self) -> Any:
        """Member: the leader's next order."""
        return receive(self._comm, 0, _ORDER)


def serve(coordinator: Coordinator, world: MPI.Comm, groups: int) -> None:
    """Rank 0: answer leaders until every group was told to stop."""
    backoff, status = Backoff(), MPI.Status()
    replies: dict[int, MPI.Request] = {}
    open_groups = groups
    while open_groups:
        message = world.improbe(MPI.ANY_SOURCE, _REQUEST, status)
        if message is None:
            backoff.wait()
            continue
        backoff.reset()
        reply = coordinator.handle(message.recv())
        open_groups -= isinstance(reply, Stop)
        # A leader waits for its reply before it speaks again: one request a leader is enough.
        if status.source in replies:
            replies[status.source].wait()
        replies[status.source] = world.isend(reply, dest=status.source, tag=_REPLY)
    MPI.Request.Waitall(list(replies.values()))
