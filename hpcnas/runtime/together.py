"""What ranks do as one, whichever way they hear of each other. Starts no MPI: programs of one process use it as well."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from hpcnas.core.errors import HpcnasError, RunError

T = TypeVar("T")


class World(Protocol):
    """Of an MPI communicator, what is needed here."""

    rank: int
    size: int

    def bcast(self, value: Any, root: int = 0) -> Any: ...

    def allgather(self, value: Any) -> list[Any]: ...


class SoloWorld:
    """A world of one process."""

    rank = 0
    size = 1

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value]


def on_first_rank(world: World, function: Callable[[], T]) -> T:
    """What ``function`` returns on rank 0, on every rank; its HpcnasError or SystemExit is raised on all of them too, and an
    OSError as a RunError."""
    outcome: Any = None
    if world.rank == 0:
        try:
            outcome = function()
        except (HpcnasError, SystemExit) as error:
            outcome = error
        except OSError as error:
            outcome = RunError(str(error))
    outcome = world.bcast(outcome, root=0)
    if isinstance(outcome, (HpcnasError, SystemExit)):
        raise outcome
    return outcome


def on_every_rank(world: World, function: Callable[[], T]) -> T:
    """What ``function`` returns on this rank, once it succeeded on all; else the first HpcnasError is raised on all, and an
    OSError as a RunError."""
    error: HpcnasError | None = None
    value: Any = None
    try:
        value = function()
    except HpcnasError as raised:
        error = raised
    except OSError as raised:
        error = RunError(f"{raised} (on {socket.gethostname()})")
    first = next((e for e in world.allgather(error) if e is not None), None)
    if first is not None:
        raise first
    return value
