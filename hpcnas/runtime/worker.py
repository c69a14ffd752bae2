"""Every rank but the first: trains in a group as long as rank 0 says, in another one if that breaks."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

from mpi4py import MPI

from hpcnas.core.messages import Fault, Form, Free, Gone, Leave
from hpcnas.core.roster import ClusterConfig
from hpcnas.nn.group import Group, GroupLost
from hpcnas.runtime import faults, groups, memory
from hpcnas.runtime.channel import (
    CONTROL,
    PLACE,
    REPLY,
    REQUEST,
    Backoff,
    GroupChannel,
    LeaderChannel,
    Line,
    Pulse,
    forget,
    receive,
    sign_of_life,
)
from hpcnas.runtime.engines import Engine
from hpcnas.runtime.launch import EXIT_SUSPENDED

logger = logging.getLogger(__name__)


class Runner(Protocol):
    """What a group does all day."""

    def work(self) -> None:
        """Ask for trials and run them until the coordinator says stop; called by all ranks of the group."""


MakeRunner = Callable[[int, Group, GroupChannel, Line | None], Runner]

YIELD, END = "yield", "end"
"""Orders to a warden, with a group: end this rank if it is still in it and does not just wait; end it in any case."""


class Worker:
    """What a rank does between its first group and the end of the stage.

    Args:
        control: a second communicator of all ranks, for wardens.
        goes_on: whether a lost group is no reason to end the job.
        engine: of groups of several ranks.
        make_runner: what a group of that number trains with.
    """

    def __init__(
        self,
        world: MPI.Intracomm,
        control: MPI.Comm,
        config: ClusterConfig,
        goes_on: bool,
        engine: Engine,
        make_runner: MakeRunner,
    ) -> None:
        self._world, self._control, self._config = world, control, config
        self._goes_on, self._engine, self._make_runner = goes_on, engine, make_runner

    def work(self) -> int:
        """Serve until rank 0 says leave; returns the exit status that it gave."""
        warden = Warden(self._control)
        if not self._goes_on:
            return self._serve(warden)
        warden.start()
        try:
            return self._serve(warden)
        except MPI.Exception:  # what it says to other ranks fails in its group, and is dealt with there
            leave_orphaned(self._world)

    def _serve(self, warden: Warden) -> int:
        while isinstance(order := receive(self._world, 0, PLACE, backoff=Backoff(longest=0.05)), Form):
            forget(self._world, 0, REPLY)  # an answer to a group that is no more
            leads = order.ranks[0] == self._world.rank
            every_s = self._config.hang_limit_s / 10
            pulse = Pulse(sign_of_life(self._world, order.number) if leads else lambda: None, every_s)
            warden.duty = order.number, pulse
            self._train(order, pulse)
            pulse.is_waiting = True
        assert isinstance(order, Leave)
        warden.dismiss()
        self._world.send(Gone(), dest=0, tag=REQUEST)
        return order.status

    def _train(self, order: Form, pulse: Pulse) -> None:
        """Train in a group until there is no more work or the group breaks, and then say so."""
        comm = None
        try:
            with pulse.waiting():
                comm = groups.communicator(self._world, order)
            group = groups.make_group(comm, pulse, self._engine)
            line = LeaderChannel(self._world, pulse, lambda: groups.look_for_losses(comm)) if comm.rank == 0 else None
            self._make_runner(order.number, group, GroupChannel(comm, pulse), line).work()
            group.close()
            return
        except Exception as error:
            of_mates = isinstance(error, (GroupLost, MPI.Exception)) or self._engine.is_loss(error)
            fault = Fault.MATES if of_mates else faults.fault_of(error)
            if fault is None or not self._goes_on:
                raise
            if fault is Fault.MATES:
                why = "its mates are gone"
                logger.info("left group %d: %s", order.number, error)
            else:
                why = f"{type(error).__name__}: {error}".partition("\n")[0]
                logger.warning("left group %d: %s", order.number, why, exc_info=fault is Fault.ERROR)
        # Before the engine is shut down, whereupon the mates leave too: the first to speak is the one that knows why.
        self._world.send(Free(order.number, why, fault), dest=0, tag=REQUEST)
        with pulse.waiting():
            self._engine.abandon()
            groups.abandon(comm)
        memory.give_back(of_gpu=True)


class Warden(threading.Thread):
    """Obeys rank 0 while the main thread cannot: ends a rank that hangs, and one whose rank 0 is gone."""

    _EVERY_S = 0.5

    def __init__(self, control: MPI.Comm) -> None:
        super().__init__(name="warden", daemon=True)
        self._control = control
        self._dismissed = threading.Event()
        self.duty = -1, Pulse()
        """The rank's group, and its signs of life there."""

    def run(self) -> None:
        while not self._dismissed.wait(self._EVERY_S):
            try:
                message = self._control.improbe(0, CONTROL)
            except MPI.Exception:
                leave_orphaned(self._control)
            if message is not None and self._is_meant(*message.recv()):
                logger.warning("this rank hangs: it ends itself")
                os.kill(os.getpid(), signal.SIGKILL)

    def dismiss(self) -> None:
        """The rank was sent home: rank 0 may be gone before it, and MPI ends."""
        self._dismissed.set()
        if self.is_alive():
            self.join()

    def _is_meant(self, order: str, group: int) -> bool:
        own, pulse = self.duty
        return order == END or (group == own and not pulse.is_waiting)


def leave_orphaned(comm: MPI.Comm) -> NoReturn:
    """End a rank whose rank 0 is gone; the first of those that are left says so to mpirun (see ``launch.run_program``)."""
    logger.warning("rank 0 is gone; the same command with --resume goes on")
    left = set(range(1, comm.size)) - groups.lost_ranks(comm)
    os._exit(EXIT_SUSPENDED if comm.rank == min(left) else 0)
