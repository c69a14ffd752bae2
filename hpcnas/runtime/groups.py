"""Groups of ranks, and what becomes of a group that loses one. The only file that touches MPI's fault tolerance.

It is ULFM's, as in Open MPI 5 under ``mpirun --with-ft ulfm``: mates of a rank that died get an error from their engine
(``engines/``), shut it down and revoke their communicator; new groups are made from free ranks by ``Create_from_group``, since
``Create_group`` fails once any rank is dead.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mpi4py import MPI
from torch import nn

from hpcnas.core import devices
from hpcnas.core.devices import Seat
from hpcnas.core.errors import LaunchError
from hpcnas.core.messages import Form
from hpcnas.core.roster import ClusterConfig
from hpcnas.core.threads import SAID_TO_ALL, Threads, decide
from hpcnas.nn.group import Group, GroupLost, SoloGroup
from hpcnas.runtime import threads
from hpcnas.runtime.channel import Pulse
from hpcnas.runtime.cpus import of_process
from hpcnas.runtime.engines import Engine

logger = logging.getLogger(__name__)


_FT_ENABLED = "OMPI_MCA_mpi_ft_enable"
"""Set by mpirun --with-ft ulfm."""
_SHARED_OUT = 0.9
"""Of a GPU's memory; the rest is for what each process's context takes beside its tensors."""


class LoneGroup(SoloGroup):
    """One rank, which has nobody to average with, and needs no engine."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        super().step(optimizer, model, clip)
        self._pulse.beat()

    def beat(self) -> None:
        self._pulse.beat()


def make_group(comm: MPI.Comm, pulse: Pulse, engine: Engine) -> Group:
    """What the ranks of ``comm`` train with; called by all of them."""
    return engine.group(comm, pulse) if comm.size > 1 else LoneGroup(pulse)


def is_fault_tolerant() -> bool:
    """Whether this job's MPI lets the other ranks go on when one dies."""
    version = re.match(r"Open MPI v(\d+)", MPI.Get_library_version())
    return version is not None and int(version[1]) >= 5 and os.environ.get(_FT_ENABLED) == "1"


def goes_on(config: ClusterConfig) -> bool:
    """Whether the job goes on when a group is lost; raises LaunchError if it should and cannot."""
    if config.on_group_loss == "continue" and not is_fault_tolerant():
        raise LaunchError(
            'cluster.on_group_loss = "continue" needs a fault-tolerant MPI: Open MPI 5, started by mpirun --with-ft ulfm; '
            'with "auto" the job ends when a rank is lost, and resumes'
        )
    return config.on_group_loss != "abort" and is_fault_tolerant()


def communicator(world: MPI.Intracomm, group: Form) -> MPI.Comm:
    """The group's own communicator; called by its ranks alone. One rank needs no new one: thousands would be made."""
    if len(group.ranks) == 1:
        return MPI.COMM_SELF
    members = world.group.Incl(group.ranks)
    if is_fault_tolerant():
        comm = MPI.Intracomm.Create_from_group(members, f"hpcnas-{group.number}")
    else:
        comm = world.Create_group(members, group.number % 32768)
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    return comm


def abandon(comm: MPI.Comm | None) -> None:
    """Let mates that wait for this rank's words hear that it leaves the group."""
    if comm is not None and comm.size > 1 and is_fault_tolerant() and not comm.Is_revoked():
        comm.Revoke()


def lost_ranks(comm: MPI.Comm) -> set[int]:
    """Ranks of ``comm`` that are dead; probing it works again until the next one dies."""
    comm.Ack_failed()
    failed = comm.Get_failed()
    return set(MPI.Group.Translate_ranks(failed, None, comm.group)) if failed.size else set()


def look_for_losses(comm: MPI.Comm) -> None:
    """Raise GroupLost if a rank of ``comm`` is dead."""
    if is_fault_tolerant() and (failed := comm.Get_failed()).size:
        raise GroupLost(f"{failed.size} of {comm.size} ranks")


class Place(NamedTuple):
    """Where a rank trains, and how many ranks of its node train there."""

    device: torch.device = torch.device("cpu")
    sharers: int = 1

    def take(self) -> None:
        """Let all that this process does on a GPU be done on that one, with its share of the memory: who asks for more fails
        alone, and takes nothing from the others."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # or pinned memory, for one, would belong to GPU 0
            if self.sharers > 1:
                torch.cuda.set_per_process_memory_fraction(_SHARED_OUT / self.sharers, self.device)


def choose_place(world: MPI.Intracomm, trains: bool, group_size: int, per_gpu: int = 1) -> Place:
    """The GPU of this rank, counted within the node over all ranks that train; the CPU where there is none. Collective.

    What engines call the local rank counts within the group, so that two groups on a node would share GPU 0. Raises LaunchError
    where ranks would share a GPU, or only some have one, and groups are of several ranks.

    Args:
        per_gpu: ranks that may share one, and nobody need hear of it.
    """
    if per_gpu > 1 and group_size > 1:
        raise LaunchError(
            f"cluster.groups_per_gpu = {per_gpu}: groups of search.group_size = {group_size} need a GPU for each rank; set one "
            "of them to 1"
        )
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    seats = node.allgather(Seat(world.rank, visible_gpus()) if trains else None)
    node.Free()
    seats = [seat for seat in seats if seat is not None]
    for complaint in devices.complaints(seats, socket.gethostname(), per_gpu):
        if group_size > 1:
            raise LaunchError(
                f"{complaint}; groups of search.group_size = {group_size} need a GPU for each rank: start as many ranks that "
                "train on a node as it has GPUs, or set search.group_size = 1"
            )
        if world.rank == seats[0].rank:
            logger.warning("%s", complaint)
    number = dict(zip((seat.rank for seat in seats), devices.placed(seats))).get(world.rank)
    if number is None:
        return Place()
    sharers = next(len(ranks) for ranks in devices.ranks_by_gpu(seats).values() if world.rank in ranks)
    return Place(torch.device("cuda", number), sharers)


def visible_gpus() -> tuple[str, ...]:
    """What tells the GPUs that this process sees from all others of the node."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    gpus = []
    for number in range(torch.cuda.device_count()):
        name = named[number] if number < len(named) else ""
        properties = torch.cuda.get_device_properties(number)
        # A part of a GPU (MIG) has a name of its own, and may have its GPU's identifiers.
        unique = name if name.startswith("MIG-") else getattr(properties, "uuid", getattr(properties, "pci_bus_id", None))
        gpus.append(f"GPU {name or number if unique is None else unique}")
    return tuple(gpus)


def set_threads(world: MPI.Intracomm, every_rank: bool = False) -> int:
    """Let the ranks of each node that train share its CPUs (``core/threads.py``); collective. Rank 0 says what came of it.

    Returns how many this rank computes with. ``every_rank``: rank 0 works as the others do, though there are some.
    """
    own = of_process()
    trains = every_rank or world.rank > 0 or world.size == 1
    said = world.bcast({name: os.environ[name] for name in SAID_TO_ALL if name in os.environ})
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    of_node = node.allgather(own.allowed if trains else frozenset())
    beside = [cpus for rank, cpus in enumerate(of_node) if cpus and rank != node.rank]
    node.Free()
    decided = decide({**said, **os.environ}, own, beside, socket.gethostname())
    threads.use(decided)
    of_ranks = world.gather(decided if trains else None)
    if of_ranks is not None:
        _tell_threads([of_rank for of_rank in of_ranks if of_rank is not None])
    return decided.number


def _tell_threads(of_ranks: Sequence[Threads]) -> None:
    for complaint in dict.fromkeys(complaint for decided in of_ranks for complaint in decided.not_heeded):
        logger.warning("%s", complaint)
    numbers = Counter(map(str, of_ranks)).most_common()
    ways = [f"{decided} on {ranks} ranks" for decided, ranks in numbers] if len(numbers) > 1 else [numbers[0][0]]
    logger.info("threads a rank: %s", "; ".join(ways[:4]) + ("; ..." if len(ways) > 4 else ""))


def check_mpi() -> None:
    """Raise LaunchError if this process has an MPI library beside mpi4py's."""
    if len(files := loaded_mpis()) > 1:
        raise LaunchError(
            f"mpi4py and Horovod use different MPIs, or another library has brought one ({', '.join(files)}); "
            "run tools/build_horovod.sh under the one to use"
        )


def loaded_mpis() -> list[str]:
    """MPI libraries in this process; none where the system does not say."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return sorted({line.split(maxsplit=5)[-1].strip() for line in lines if "/libmpi.so" in line})
