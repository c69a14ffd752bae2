"""Groups of ranks as Horovod worlds of their own, and what becomes of a group that loses a rank. The only file that touches
Horovod and MPI's fault tolerance.

Horovod 0.28.1 is its last release; this file is what would change with another library. Fault tolerance is ULFM's, as in Open
MPI 5 under ``mpirun --with-ft ulfm``: mates of a rank that died get an error from Horovod, shut it down and revoke their
communicator; new groups are made from free ranks by ``Create_from_group``, since ``Create_group`` fails once any rank is dead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas.core.errors import LaunchError
from hpcnas.core.messages import Form
from hpcnas.core.roster import ClusterConfig
from hpcnas.nn.group import SoloGroup
from hpcnas.runtime.channel import Pulse

try:
    import horovod.torch as hvd
    from horovod.common.exceptions import HorovodInternalError
except (ImportError, OSError) as error:  # said by check_horovod, when someone can listen
    hvd, HorovodInternalError = None, RuntimeError
    _WHY_NOT = str(error).splitlines()[0]


_FT_ENABLED = "OMPI_MCA_mpi_ft_enable"
"""Set by mpirun --with-ft ulfm."""


class GroupLost(Exception):
    """A mate of this rank is gone."""


MATES_ARE_LOST = (GroupLost, HorovodInternalError, MPI.Exception)
"""What a rank sees of it that its group cannot go on, through no fault of its own."""


class LoneGroup(SoloGroup):
    """One rank, which has nobody to average with. Horovod would wake a thread of each such rank a thousand times a second."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        super().step(optimizer, model, clip)
        self._pulse.beat()

    def beat(self) -> None:
        self._pulse.beat()

    def close(self) -> None:
        pass


class HorovodGroup:
    """The ranks of ``comm``, training one model together; see ``nn/group.py`` for the methods."""

    def __init__(self, comm: MPI.Comm, pulse: Pulse) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._comm, self._pulse = comm, pulse
        with pulse.waiting():
            comm.Barrier()  # a mate that dies within hvd.init takes the others with it
            hvd.init(comm=comm)

    def share(self, model: nn.Module) -> None:
        with self._pulse.waiting():
            hvd.broadcast_parameters(model.state_dict(), root_rank=0)

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        return hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        with self._pulse.waiting():
            optimizer.synchronize()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        with optimizer.skip_synchronize():
            optimizer.step()
        self._pulse.beat()

    def sum(self, array: np.ndarray) -> np.ndarray:
        with self._pulse.waiting():
            return hvd.allreduce(torch.from_numpy(array), op=hvd.Sum).numpy()

    def beat(self) -> None:
        self._pulse.beat()

    def close(self) -> None:
        hvd.shutdown()


def make_group(comm: MPI.Comm, pulse: Pulse) -> LoneGroup | HorovodGroup:
    """What the ranks of ``comm`` train with; called by all of them."""
    return HorovodGroup(comm, pulse) if comm.size > 1 else LoneGroup(pulse)


def is_fault_tolerant() -> bool:
    """Whether this job's MPI lets the other ranks go on when one dies."""
    version = re.match(r"Open MPI v(\d+)", MPI.Get_library_version())
    return bool(version) and int(version[1]) >= 5 and os.environ.get(_FT_ENABLED) == "1"


def goes_on(config: ClusterConfig) -> bool:
    """Whether the job goes on when a group is lost; raises LaunchError if it should and cannot."""
    if config.on_group_loss == "continue" and not is_fault_tolerant():
        raise LaunchError(
            'cluster.on_group_loss = "continue" needs a fault-tolerant MPI: Open MPI 5, started by mpirun --with-ft ulfm; '
            'with "auto" the job ends when a rank is lost, and resumes'
        )
    return config.on_group_loss != "abort" and is_fault_tolerant()


def limit_stalls(seconds: float) -> None:
    """Let Horovod give up on a collective that some rank does not come to; before the first group."""
    os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", f"{seconds / 2:.0f}")
    os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", f"{seconds:.0f}")


def communicator(world: MPI.Comm, group: Form) -> MPI.Comm:
    """The group's own communicator; called by its ranks alone."""
    members = world.group.Incl(group.ranks)
    if is_fault_tolerant():
        comm = MPI.Intracomm.Create_from_group(members, f"hpcnas-{group.number}")
    else:
        comm = world.Create_group(members, group.number % 32768)
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    return comm


def abandon(comm: MPI.Comm | None) -> None:
    """Leave a group that cannot go on, and let mates that wait for this rank hear of it."""
    hvd.shutdown()  # does nothing where it was never initialised
    if comm is not None and is_fault_tolerant() and not comm.Is_revoked():
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


def choose_device(trainers: MPI.Comm) -> torch.device:
    """The GPU of this rank, counted within the node over all trainers; the CPU where there is none.

    ``hvd.local_rank()`` counts within the group, so that two groups on a node would share GPU 0.
    """
    on_node = trainers.Split_type(MPI.COMM_TYPE_SHARED)
    rank_on_node = on_node.rank
    on_node.Free()
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank_on_node % torch.cuda.device_count())


def set_threads(world: MPI.Comm) -> None:
    """Share the cores that this rank may use with the other ranks of the node; ``OMP_NUM_THREADS`` overrules, then Slurm's
    ``--cpus-per-task``."""
    on_node = world.Split_type(MPI.COMM_TYPE_SHARED)
    cores = len(os.sched_getaffinity(0))
    all_cores = os.cpu_count() or cores
    # A rank that was bound to cores of its own has them to itself.
    share = cores if cores < all_cores else cores // on_node.size
    on_node.Free()
    given = os.environ.get("OMP_NUM_THREADS") or os.environ.get("SLURM_CPUS_PER_TASK")
    torch.set_num_threads(int(given or max(1, share)))


def check_horovod() -> None:
    """Raise LaunchError if Horovod cannot be loaded, or brought another MPI library into this process than mpi4py's."""
    if hvd is None:
        raise LaunchError(f"Horovod cannot be loaded ({_WHY_NOT}); run tools/build_horovod.sh under this MPI")
    if len(files := loaded_mpis()) > 1:
        raise LaunchError(
            f"mpi4py and Horovod use different MPIs ({', '.join(files)}); run tools/build_horovod.sh under the one to use"
        )


def loaded_mpis() -> list[str]:
    """MPI libraries in this process; none where the system does not say."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return sorted({line.split(maxsplit=5)[-1].strip() for line in lines if "/libmpi.so" in line})
