"""torch.distributed: each group is a process group, made when the group is and destroyed with it; over gloo between CPUs, over
NCCL between GPUs, which we could not try.

All gradients of a step are averaged in one piece, behind the backward pass. The ``Group`` protocol has no place for a wrapped
model, as DistributedDataParallel is, whose buckets are sent while that goes on (``benchmarks/steps.py`` compares them).
"""

from __future__ import annotations

import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from mpi4py import MPI
from torch import Tensor, nn

from hpcnas.core.errors import LaunchError
from hpcnas.nn.group import GroupLost
from hpcnas.runtime.channel import Pulse

_MEETING_S = 60.0
"""So long ranks wait for what others are to say of where they are; all have come to that point."""


class Ddp:
    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        # By itself NCCL's watchdog would end the process of whoever waits for a mate that hangs.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")

    def check(self) -> None:
        if not dist.is_available() or not dist.is_gloo_available():
            raise LaunchError(
                f'cluster.engine = "ddp": torch {torch.__version__} is built without torch.distributed, or without gloo; '
                'install another build of torch, or Horovod (tools/build_horovod.sh) and set cluster.engine = "horovod"'
            )
        if torch.cuda.is_available() and not dist.is_nccl_available():
            raise LaunchError(
                f'cluster.engine = "ddp": torch {torch.__version__} has no NCCL for the GPUs here; install a build with it, '
                'or Horovod (tools/build_horovod.sh) and set cluster.engine = "horovod"'
            )

    def group(self, comm: MPI.Comm, pulse: Pulse) -> DdpGroup:
        return DdpGroup(comm, pulse, self._stall_s)

    def is_loss(self, error: Exception) -> bool:
        return False  # its groups say so themselves

    def abandon(self) -> None:
        if not dist.is_initialized():
            return
        with suppress(RuntimeError):
            if (own := dist.group.WORLD) is not None and hasattr(own, "abort"):  # or NCCL would wait for what is under way
                own.abort()
        dist.destroy_process_group()


class DdpGroup:
    """The ranks of ``comm``; see ``nn/group.py`` for the methods."""

    def __init__(self, comm: MPI.Comm, pulse: Pulse, stall_s: float) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._pulse = pulse
        with pulse.waiting():
            comm.Barrier()  # whoever is dead already is noticed here
            with _losses():
                store = _store(comm)
                backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
                patience = timedelta(seconds=stall_s)
                dist.init_process_group(backends, store=store, rank=comm.rank, world_size=comm.size, timeout=patience)
            comm.Barrier()  # the leader has the store that others are still reading

    def share(self, model: nn.Module) -> None:
        by_type = defaultdict(list)
        for tensor in model.state_dict().values():
            by_type[tensor.dtype, tensor.device].append(tensor)
        for tensors in by_type.values():
            flat = _joined(tensors)
            with self._pulse.waiting(), _losses():
                dist.broadcast(flat, src=0)
            for tensor, piece in zip(tensors, _divided(flat, tensors)):
                tensor.copy_(piece)

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        return optimizer

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        self._average_gradients([p for p in model.parameters() if p.requires_grad])
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        self._pulse.beat()

    def _average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """What no loss of this rank reached counts as zero, as with Horovod: others' may have."""
        flat = _joined([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
        with self._pulse.waiting(), _losses():
            dist.all_reduce(flat)
        flat /= self.size
        for parameter, piece in zip(parameters, _divided(flat, parameters)):
            parameter.grad = piece

    def sum(self, array: np.ndarray) -> np.ndarray:
        total = torch.from_numpy(array).clone()
        with self._pulse.waiting(), _losses():
            dist.all_reduce(total)
        return total.numpy()

    def beat(self) -> None:
        self._pulse.beat()

    def close(self) -> None:
        dist.destroy_process_group()


def _store(comm: MPI.Comm) -> dist.TCPStore:
    """Where the ranks find each other: the leader's, on a port that the system chooses and MPI tells the others. Ranks of one
    node meet where no other machine can reach them."""
    hosts = comm.allgather(socket.gethostname())
    leads, host = comm.rank == 0, hosts[0] if len(set(hosts)) > 1 else "127.0.0.1"
    listening = socket.create_server((host, 0)) if leads else None
    port = comm.bcast(listening.getsockname()[1] if listening else None)
    of_leader: dict[str, Any] = {"master_listen_fd": listening.detach()} if listening else {}
    return dist.TCPStore(
        host, port, is_master=leads, wait_for_workers=False, timeout=timedelta(seconds=_MEETING_S), **of_leader
    )


@contextmanager
def _losses() -> Iterator[None]:
    """Communication alone is within: what fails there, but for the device, is a mate that is gone or does not come."""
    try:
        yield
    except RuntimeError as error:
        if "CUDA error" in str(error):
            raise
        raise GroupLost(str(error).partition("\n")[0]) from error


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _divided(flat: Tensor, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Parts of ``flat``, no copies, in the shapes of these tensors."""
    return (piece.view_as(tensor) for piece, tensor in zip(flat.split([t.numel() for t in like]), like))
