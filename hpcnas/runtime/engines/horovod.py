"""Horovod: each group is a Horovod world of its own, over the group's MPI communicator.

0.28.1 is its last release. It is loaded by groups of several ranks alone: it brings fifty modules and a library, and may not be
there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas.core.errors import LaunchError
from hpcnas.runtime.channel import Pulse


class Horovod:
    def __init__(self, stall_s: float) -> None:
        os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", f"{stall_s / 2:.0f}")
        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", f"{stall_s:.0f}")

    def check(self) -> None:
        try:
            _horovod()
        except (ImportError, OSError) as error:
            why = str(error).splitlines()[0]
            raise LaunchError(
                f'Horovod cannot be loaded ({why}); run tools/build_horovod.sh under this MPI, or set cluster.engine = "ddp"'
            ) from error

    def group(self, comm: MPI.Comm, pulse: Pulse) -> HorovodGroup:
        return HorovodGroup(comm, pulse)

    def is_loss(self, error: Exception) -> bool:
        """Also of backward passes, which begin to average: those are no method of a group."""
        exceptions = sys.modules.get("horovod.common.exceptions")
        return exceptions is not None and isinstance(error, exceptions.HorovodInternalError)

    def abandon(self) -> None:
        if "horovod.torch" in sys.modules:
            _horovod().shutdown()  # does nothing where it was never initialised


class HorovodGroup:
    """The ranks of ``comm``; see ``nn/group.py`` for the methods."""

    def __init__(self, comm: MPI.Comm, pulse: Pulse) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._comm, self._pulse = comm, pulse
        with pulse.waiting():
            comm.Barrier()  # a mate that dies within hvd.init takes the others with it
            self._hvd = _horovod()
            self._hvd.init(comm=comm)

    def share(self, model: nn.Module) -> None:
        with self._pulse.waiting():
            self._hvd.broadcast_parameters(model.state_dict(), root_rank=0)

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        return self._hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    def step(self, optimizer: Any, model: nn.Module, clip: float) -> None:
        with self._pulse.waiting():
            optimizer.synchronize()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        with optimizer.skip_synchronize():
            optimizer.step()
        self._pulse.beat()

    def sum(self, array: np.ndarray) -> np.ndarray:
        with self._pulse.waiting():
            return self._hvd.allreduce(torch.from_numpy(array), op=self._hvd.Sum).numpy()

    def beat(self) -> None:
        self._pulse.beat()

    def close(self) -> None:
        self._hvd.shutdown()


def is_installed() -> bool:
    """Whether it is there; whether it can be loaded is another question."""
    return importlib.util.find_spec("horovod") is not None


def _horovod() -> ModuleType:
    import horovod.torch

    return horovod.torch
