"""Groups of ranks as Horovod worlds of their own. The only file that touches Horovod.

Horovod 0.28.1 is its last release; this file is what would change with another library.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas.core.errors import LaunchError

try:
    import horovod.torch as hvd
except (ImportError, OSError) as error:  # said by check_horovod, when someone can listen
    hvd = None
    _WHY_NOT = str(error).splitlines()[0]


class HorovodGroup:
    """The ranks of ``comm``, training one model together; see ``nn/group.py`` for the methods."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._comm = comm
        hvd.init(comm=comm)

    def share(self, model: nn.Module) -> None:
        if self.size > 1:
            hvd.broadcast_parameters(model.state_dict(), root_rank=0)

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        return hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        optimizer.synchronize()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        with optimizer.skip_synchronize():
            optimizer.step()

    def sum(self, array: np.ndarray) -> np.ndarray:
        if self.size == 1:
            return array
        return hvd.allreduce(torch.from_numpy(array), op=hvd.Sum).numpy()

    def close(self) -> None:
        hvd.shutdown()


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
    """Share the cores that this rank may use with the other ranks of the node; ``OMP_NUM_THREADS`` overrules."""
    on_node = world.Split_type(MPI.COMM_TYPE_SHARED)
    cores = len(os.sched_getaffinity(0))
    all_cores = os.cpu_count() or cores
    # A rank that was bound to cores of its own has them to itself.
    share = cores if cores < all_cores else cores // on_node.size
    on_node.Free()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or max(1, share)))


def check_horovod() -> None:
    """Raise LaunchError if Horovod cannot be loaded, or brought another MPI library into this process than mpi4py's."""
    if hvd is None:
        raise LaunchError(f"Horovod cannot be loaded ({_WHY_NOT}); run tools/build_horovod.sh under this MPI")
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    files = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines() if "/libmpi.so" in line}
    if len(files) > 1:
        raise LaunchError(
            f"mpi4py and Horovod use different MPIs ({', '.join(sorted(files))}); "
            "run tools/build_horovod.sh under the one to use"
        )
