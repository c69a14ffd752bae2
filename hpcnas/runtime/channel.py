"""Messages over MPI. Whoever waits sleeps: a blocking receive burns a core for a week.

Requests to rank 0 share one tag, so that a rank's words arrive in the order in which they were said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from mpi4py import MPI

from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Ahead, Alive, Assignment, Progress, Ready, Stop, Verdict, Wait

REQUEST, REPLY, ORDER, PLACE, CONTROL = 1, 2, 3, 4, 5
"""To rank 0; its answer to a leader; leader to members; rank 0 to a worker without a group; rank 0 to a worker's warden."""

_LONG_S = 0.005
"""Whoever has waited so long asks why."""


class Backoff:
    """Naps between two looks for what has not come, up to ``longest`` seconds.

    A nap lengthens the wait by no more than itself and costs 35 us of a core. It takes a quarter of the time waited so far,
    from 2 ms on 0.5 ms, and from 50 ms on a hundredth of the time waited.

    Args:
        first: the first nap, where it is known what the wait will be at least.
    """

    def __init__(self, longest: float = 0.005, first: float = 0.0) -> None:
        self._longest, self._first = longest, min(first, longest)
        self.reset()

    def reset(self) -> None:
        self._since = time.monotonic()

    def wait(self) -> float:
        """Nap; returns the seconds waited before."""
        waited = time.monotonic() - self._since
        nap = waited / 4 if waited < 0.002 else max(0.0005, waited / 100)
        time.sleep(max(self._first, min(nap, self._longest)))
        self._first = 0.0
        return waited


def arrived(comm: MPI.Comm, source: int, tag: int, status: MPI.Status | None = None) -> MPI.Message | None:
    """A message that has come, or None.

    In Open MPI a probe that finds nothing takes in what has come since, for the next one to find: with one probe between two
    naps a round trip of two ranks took 15 ms, with two it takes 0.1 ms.
    """
    for _ in range(2):
        if (message := comm.improbe(source, tag, status)) is not None:
            return message
    return None


def receive(
    comm: MPI.Comm,
    source: int,
    tag: int,
    look: Callable[[], None] = lambda: None,
    backoff: Backoff | None = None,
) -> Any:
    """The next message from ``source``; ``look`` is called now and then while it does not come, and may raise."""
    backoff = backoff or Backoff()
    while (message := arrived(comm, source, tag)) is None:
        if backoff.wait() > _LONG_S:
            look()
    return message.recv()


def forget(comm: MPI.Comm, source: int, tag: int) -> None:
    """Take in and drop what has arrived."""
    while (message := arrived(comm, source, tag)) is not None:
        message.recv()


def meet(comm: MPI.Comm) -> None:
    """A barrier that sleeps."""
    request, backoff = comm.Ibarrier(), Backoff(longest=0.05)
    while not request.Test():
        backoff.wait()


class Pulse:
    """Signs of life of one rank: whether it only waits for others, and, of a leader, word to rank 0 that its group works.

    Args:
        alive: tells rank 0; called at most once in ``every_s`` seconds.
    """

    def __init__(self, alive: Callable[[], None] = lambda: None, every_s: float = 60.0) -> None:
        self._alive, self._every_s, self._last = alive, every_s, time.monotonic()
        self.is_waiting = False

    def beat(self) -> None:
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self._alive()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within, only others can be to blame that it takes long; behind an error too, when the rank is on its way out."""
        self.is_waiting = True
        yield
        self.is_waiting = False


class Line(Protocol):
    """A leader's to the coordinator."""

    def announce(self, message: Ahead) -> None:
        """Say so, and go on; what comes of it answers the next question."""

    def ask(self, message: Ready | Progress) -> Assignment | Stop | Verdict:
        """The answer, once it is there: to ``Ready`` an ``Assignment`` or ``Stop``, to ``Progress`` a ``Verdict``."""


class LeaderChannel:
    """The line to rank 0.

    Args:
        look: called while an answer is awaited; raises if the leader's group is lost meanwhile.
    """

    def __init__(self, world: MPI.Intracomm, pulse: Pulse, look: Callable[[], None]) -> None:
        self._world, self._pulse, self._look = world, pulse, look
        self._usual_s = 0.0
        """How long the last answer took."""
        self._announcing = MPI.REQUEST_NULL

    def announce(self, message: Ahead) -> None:
        self._announcing.Wait()
        self._announcing = self._world.isend(message, dest=0, tag=REQUEST)

    def ask(self, message: Ready | Progress) -> Assignment | Stop | Verdict:
        sending = self._world.isend(message, dest=0, tag=REQUEST)  # a plain send spins until rank 0 comes to look
        start = time.monotonic()
        with self._pulse.waiting():
            backoff = Backoff(longest=0.05, first=min(self._usual_s / 2, 0.001))  # the question may be parked for long
            reply = receive(self._world, 0, REPLY, self._look, backoff)
        sending.Wait()
        self._usual_s = time.monotonic() - start
        return reply


class LocalChannel:
    """The same, where coordinator and leader share the process."""

    def __init__(self, coordinator: Coordinator, settle: Callable[[], None]) -> None:
        self._coordinator, self._settle = coordinator, settle

    def announce(self, message: Ahead) -> None:
        """There is nothing to be gained: an answer takes no time."""

    def ask(self, message: Ready | Progress) -> Assignment | Stop | Verdict:
        reply = self._coordinator.handle(message)
        self._settle()
        assert reply is not None and not isinstance(reply, Wait), "no other group runs, and nothing was chosen ahead"
        return reply


class GroupChannel:
    """Leader to members: what the whole group must know before its next collective step."""

    def __init__(self, comm: MPI.Comm, pulse: Pulse) -> None:
        self._comm, self._pulse = comm, pulse
        self._sending: list[MPI.Request] = []

    @property
    def is_leader(self) -> bool:
        return self._comm.rank == 0

    def tell(self, order: Any) -> Any:
        """Leader: send ``order`` to every member, and return it."""
        MPI.Request.Waitall(self._sending)
        self._sending = [self._comm.isend(order, dest=member, tag=ORDER) for member in range(1, self._comm.size)]
        return order

    def hear(self) -> Any:
        """Member: the leader's next order."""
        with self._pulse.waiting():
            return receive(self._comm, 0, ORDER)


def sign_of_life(world: MPI.Intracomm, group: int) -> Callable[[], None]:
    """What a leader tells rank 0 while its group works."""
    return lambda: world.send(Alive(group), dest=0, tag=REQUEST)
