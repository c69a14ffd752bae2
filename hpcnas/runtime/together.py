"""What ranks do as one, whichever way they hear of each other. Starts no MPI: programs of one process use it as well."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from hpcnas.core.errors import HpcnasError, RunError

T = TypeVar("T")


SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
"""Where launchers of MPIs say how many ranks there are."""


def is_a_rank(environ: Mapping[str, str]) -> bool:
    """Whether mpirun or srun started this process as a rank; a shell that srun started as its only task is no place for MPI."""
    if any(environ.get(name) not in (None, "", "1") for name in SIZES):
        return True
    return "PMIX_RANK" in environ and environ.get("SLURM_STEP_NUM_TASKS") != "1"


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


def summed(world: Any, array: np.ndarray) -> np.ndarray:
    """The sum of every rank's array, the same on all of them; may write into ``array``."""
    if world.size > 1:
        from mpi4py import MPI  # not above: that would start MPI in programs of one process

        world.Allreduce(MPI.IN_PLACE, array)
    return array
