"""Engines: the libraries by which the ranks of a group average their gradients. One file and one line of the table each.

An engine is made once in a process, with the seconds after which it gives up on a mate that does not come. It serves one group
of several ranks after the other, and the only one there is at a time; groups of one need none.
"""

from __future__ import annotations

from typing import Protocol

from mpi4py import MPI

from hpcnas.core.errors import LaunchError
from hpcnas.core.roster import ClusterConfig
from hpcnas.nn.group import Group
from hpcnas.runtime.channel import Pulse
from hpcnas.runtime.engines import horovod
from hpcnas.runtime.engines.ddp import Ddp
from hpcnas.runtime.engines.horovod import Horovod
from hpcnas.runtime.together import on_every_rank


class Engine(Protocol):
    """How the ranks of a group of several work together."""

    def __init__(self, stall_s: float) -> None: ...

    def check(self) -> None:
        """Raise LaunchError, with a way out, if it cannot be loaded."""

    def group(self, comm: MPI.Comm, pulse: Pulse) -> Group:
        """The ranks of ``comm`` as a group; called by all of them."""

    def is_loss(self, error: Exception) -> bool:
        """Whether a group raised it because a mate is gone."""

    def abandon(self) -> None:
        """Leave the group there is, if any, whatever state it is in, so that mates who wait for this rank hear of it."""


ENGINES: dict[str, type[Engine]] = {"horovod": Horovod, "ddp": Ddp}


def chosen(config: ClusterConfig) -> str:
    """The name of the engine that this rank would take."""
    if config.engine != "auto":
        return config.engine
    return "horovod" if horovod.is_installed() else "ddp"


def engine_of(config: ClusterConfig) -> Engine:
    return ENGINES[chosen(config)](2 * config.hang_limit_s)  # rank 0 comes first: it knows who is to blame


def check(world: MPI.Intracomm, config: ClusterConfig) -> str:
    """The engine's name, once it can be had on all ranks; raises LaunchError on all of them else. Collective."""
    names = world.allgather(chosen(config))
    if len(set(names)) > 1:
        without = [rank for rank, name in enumerate(names) if name != "horovod"]
        some = f"{', '.join(map(str, without[:8]))}{', ...' if len(without) > 8 else ''}"
        raise LaunchError(
            f'cluster.engine = "auto": Horovod is not installed for rank(s) {some} and is for the others; run '
            'tools/build_horovod.sh on all nodes, or set cluster.engine = "ddp"'
        )
    on_every_rank(world, lambda: engine_of(config).check())
    return names[0]
