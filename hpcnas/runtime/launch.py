"""Starting and ending a program on all ranks: errors, signals, logging."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from mpi4py import MPI
from tqdm import tqdm

from hpcnas.core.errors import HpcnasError, LaunchError
from hpcnas.nn.group import GroupLost
from hpcnas.runtime.channel import meet
from hpcnas.runtime.groups import is_fault_tolerant, look_for_losses
from hpcnas.runtime.together import SIZES
from hpcnas.showing.terminal import EXIT_INTERRUPTED, complain, flush, make_printable, told
from hpcnas.store.run_dir import RunDir

EXIT_SUSPENDED = 75
"""EX_TEMPFAIL: the job was asked to end before the run was complete; the same command with --resume goes on."""
_APART_S = 1.5
"""Between two ranks that end the job."""
_PARTING_S = 20.0
"""So long a rank waits at most for the others as it leaves."""


def run_program(program: Callable[[MPI.Intracomm, Sequence[str]], int], argv: Sequence[str] | None) -> None:
    """Run ``program(world, arguments)`` on every rank; rank 0 exits with the status that it returns.

    An HpcnasError that all ranks raise becomes one line from rank 0 and its status, mostly 2; any other exception on any rank
    ends the whole job at once, since the other ranks may be waiting in a collective. The other ranks exit with 0: several that
    exit with another status at once now and then leave Open MPI 5's mpirun waiting for ever.
    """
    make_printable()
    with abort_on_error(MPI.COMM_WORLD):
        world = MPI.COMM_WORLD.Dup()
        try:
            _check_launch(world)
            status = program(world, sys.argv[1:] if argv is None else argv)
        except HpcnasError as error:
            status = told(error) if world.rank == 0 else error.status
        except SystemExit as end:  # of argparse, on all ranks
            status = int(end.code or 0)
        if (unwritten := flush()) and world.rank == 0 and status == 0:
            status = told(unwritten)
        own_status = status if world.rank == 0 else 0
        if is_fault_tolerant():
            _part(world, own_status)
    sys.exit(own_status)


def _part(world: MPI.Intracomm, status: int) -> NoReturn:
    """Leave together: a rank that is still in a collective would take an early leaver for dead. MPI is finalised unless a rank
    is lost, since MPI might wait for it."""
    deadline = threading.Timer(_PARTING_S, os._exit, [status])  # one may die at this moment
    deadline.daemon = True
    deadline.start()
    with suppress(MPI.Exception, GroupLost):
        look_for_losses(world)
        meet(world)
        ctypes.CDLL(MPI.__file__).MPI_Finalize()  # mpi4py's own would hold up the deadline
    os._exit(status)


@contextmanager
def abort_on_error(comm: MPI.Comm) -> Iterator[None]:
    """End all ranks if one of them leaves by an exception."""
    try:
        yield
    except KeyboardInterrupt:
        if comm.rank == 0:
            complain("interrupted")
        _end_all(comm, EXIT_INTERRUPTED)
    except BaseException as error:
        what = traceback.format_exc() if not isinstance(error, AloneError) else f"{error}\n"
        with suppress(OSError):
            print(f"rank {comm.rank} of {comm.size} on {socket.gethostname()}:\n{what}", file=sys.stderr, end="", flush=True)
        # A communication that failed is somebody else's end: the job may well resume.
        _end_all(comm, EXIT_SUSPENDED if isinstance(error, MPI.Exception) else 1)


def _end_all(comm: MPI.Comm, status: int) -> NoReturn:
    if comm.size == 1:
        os._exit(status)
    # One after the other: of two that abort at the same moment Open MPI 5's mpirun now and then waits for ever.
    time.sleep(min(_APART_S * comm.rank, _PARTING_S))
    comm.Abort(status)


class AloneError(Exception):
    """What went wrong on one rank alone, with a message for the user."""


@contextmanager
def alone() -> Iterator[None]:
    """What goes wrong within concerns this rank alone, while others wait for it: even an error with a message for the user must
    end the whole job."""
    try:
        yield
    except HpcnasError as error:
        raise AloneError(f"{type(error).__name__}: {error}") from error
    except OSError as error:  # a full disk, a folder that vanished
        raise AloneError(f"{error}; mend that, then the same command with --resume goes on") from error


def stop_on_signal(stop: Callable[[], None]) -> None:
    """Call ``stop`` at the first SIGINT, SIGTERM or SIGUSR2 and let a second SIGINT end the process as usual.

    USR2, since NCCL may use USR1, and since Open MPI 5 kills ranks a quarter of a second after it passed INT or TERM on. All
    ranks get the signals; those without ``stop`` ignore them and wait for rank 0's word.
    """

    def handler(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, handler)


def set_up_logging(run: RunDir, rank: int) -> None:
    """Rank 0 prints INFO; others print warnings only, and keep their INFO, if any, below ``logs/``."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    form = logging.Formatter(f"%(asctime)s r{rank:03d} %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    console = _AboveTheBar()
    console.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    run.log(rank).parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(run.log(rank), delay=True, encoding="utf-8", errors="backslashreplace")
    handlers: list[logging.Handler] = [console, to_file]
    for handler in handlers:
        handler.setFormatter(form)
    root.handlers = handlers


class _AboveTheBar(logging.Handler):
    """Prints records without tearing a progress bar, as long as somebody reads: the end of ``| tee log``, or a full disk behind
    it, must not end a search of days. ``logs/`` has the lines too."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            tqdm.write(self.format(record), file=sys.stderr)
            sys.stderr.flush()


def _check_launch(world: MPI.Intracomm) -> None:
    if MPI.Query_thread() != MPI.THREAD_MULTIPLE:
        raise LaunchError(
            "this MPI gives no MPI_THREAD_MULTIPLE, without which ranks that hang go unnoticed; unset "
            "MPI4PY_RC_THREAD_LEVEL or use another MPI"
        )
    for name in SIZES:
        text = os.environ.get(name) or "1"
        if not text.isdecimal():
            raise LaunchError(f"{name} = {text!r}: must be the number of ranks, as an MPI's launcher sets it; unset it")
        started = int(text)
        if world.size == 1 and started > 1:
            raise LaunchError(
                f"started as {started} ranks by another MPI than mpi4py's "
                f"({MPI.Get_library_version().splitlines()[0][:40]}): each rank is alone; use that MPI's mpirun"
            )
