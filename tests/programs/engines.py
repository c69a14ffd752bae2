"""What a group of all ranks computes, by each engine that is installed: ``NAME VALUES...`` lines of every rank.

With ``leave``: rank 1 raises where its mates wait for it, abandons the group, and all form another one of the same ranks.
With ``stall``: rank 1 does not come; the others give up after five seconds.
"""

import sys
import time

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas.nn.group import GroupLost
from hpcnas.runtime.channel import Pulse
from hpcnas.runtime.engines import ENGINES, horovod

world = MPI.COMM_WORLD
torch.set_num_threads(1)


def say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


def trained(group) -> list[float]:
    """Sums over a model, which all ranks begin with the leader's and train with their own examples."""
    torch.manual_seed(world.rank)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3), nn.Linear(1, 1))
    model[4].weight.grad = None  # nothing reaches the last one
    group.share(model)
    optimizer = group.wrap(torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1), model)
    for step in range(5):
        torch.manual_seed(100 * step + world.rank)
        optimizer.zero_grad()
        model[:4](torch.randn(8, 5)).square().mean().backward()
        group.step(optimizer, model, 0.01)
    return [f"{p.double().square().sum().item():.9f}" for p in model.parameters()]


def names() -> list[str]:
    return [name for name in ENGINES if name != "horovod" or horovod.is_installed()]


def compare() -> None:
    for name in names():
        engine = ENGINES[name](60.0)
        for again in range(3):
            group = engine.group(world, Pulse())
            own = np.array([world.rank + 1.0, 10.0])
            say(name, again, *trained(group), *group.sum(own), *own)
            group.close()


def leave() -> None:
    for name in names():
        engine = ENGINES[name](60.0)
        group = engine.group(world, Pulse())
        group.sum(np.ones(1))
        try:
            if world.rank == 1:
                raise RuntimeError("out of luck")
            group.sum(np.ones(1))
        except Exception as error:
            lost = isinstance(error, GroupLost) or engine.is_loss(error)
            say(name, world.rank, "lost" if lost else "raised")
            engine.abandon()
        group = engine.group(world, Pulse())
        say(name, world.rank, *group.sum(np.ones(1)))
        group.close()


def stall() -> None:
    engine = ENGINES["ddp"](5.0)
    group = engine.group(world, Pulse())
    start = time.monotonic()
    try:
        if world.rank != 1:
            group.sum(np.ones(1))
    except GroupLost:
        say("ddp", world.rank, "lost", time.monotonic() - start > 4.5)
    world.Barrier()
    engine.abandon()


{"compare": compare, "leave": leave, "stall": stall}[sys.argv[1]]()
