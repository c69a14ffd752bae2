"""One training step of a group by each engine, against plain torch and against DistributedDataParallel.

    tools/with_env.sh .venv tools/mpirun.sh -np 4 python benchmarks/steps.py [--rounds 20] [--steps 20]

Small models of about 10k, 100k and 1M parameters on 40 x 98 features, 32 examples a rank, one thread a rank. The ways are taken
in turns, there and back, ``--steps`` steps each, so that all see the same machine; Horovod, whose thread wakes 1,000 times a
second, is up in its own turns alone. The medians over the rounds are compared. Prints a Markdown table, for 1, 2, 4 ... ranks:
milliseconds a step of plain torch (these ranks at once, each for itself), of a group by each engine that is installed, and of
DistributedDataParallel over gloo. Of one rank there is the group of one, which has no engine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median

import torch
from mpi4py import MPI
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from hpcnas.runtime.channel import Pulse, meet
from hpcnas.runtime.engines import ENGINES, Engine
from hpcnas.runtime.engines.horovod import is_installed
from hpcnas.runtime.groups import make_group

WIDTHS = {"10k": (16, 16), "100k": (256, 256), "1M": (256, 1900)}
CLIP = 5.0
STALL_S = 60.0
WARMING_UP = 3
"""Steps of each turn that do not count."""
Way = Callable[[], AbstractContextManager[Callable[[], None]]]
"""Begins a turn with a model of its own; within, a step of its training."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    world = MPI.COMM_WORLD
    torch.set_num_threads(1)
    names = [name for name in ENGINES if name != "horovod" or is_installed()]
    if world.rank == 0:
        print(f"| ranks | parameters | plain torch | group of one | {' | '.join(names)} | DistributedDataParallel |")
        print("|---" * (5 + len(names)) + "|")
    size = 1
    while size <= world.size:
        comm = world.Split(world.rank < size)
        for name, widths in WIDTHS.items() if world.rank < size else ():
            ways = [plain(widths), grouped(widths, MPI.COMM_SELF, ENGINES["ddp"](STALL_S))]
            if size > 1:
                ways += [grouped(widths, comm, ENGINES[of](STALL_S)) for of in names] + [distributed(widths, comm)]
            took = [f"{ms:.2f} ms" for ms in in_turns(comm, arguments, ways)] + [""] * (1 + len(names)) * (size == 1)
            if comm.rank == 0:
                print(f"| {size} | {name} | {' | '.join(took)} |", flush=True)
        meet(world)  # asleep: who waits awake has a core that the others would compute with
        size *= 2


def in_turns(world: MPI.Intracomm, arguments: argparse.Namespace, ways: list[Way]) -> list[float]:
    """Milliseconds a step of each way."""
    took: list[list[float]] = [[] for _ in ways]
    for round_ in range(arguments.rounds):
        turns = list(zip(ways, took, strict=True))
        for way, times in turns if round_ % 2 else turns[::-1]:
            with way() as step:
                for _ in range(WARMING_UP):
                    step()
                world.Barrier()
                start = time.perf_counter()
                for _ in range(arguments.steps):
                    step()
                times.append((time.perf_counter() - start) / arguments.steps * 1000)
    return [median(times) for times in took]


def dense(widths: tuple[int, int]) -> nn.Module:
    torch.manual_seed(0)
    first, second = widths
    return nn.Sequential(
        nn.Conv1d(40, first, 3), nn.BatchNorm1d(first), nn.ReLU(), nn.Conv1d(first, first, 1), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, second // 4), nn.ReLU(),
        nn.Linear(second // 4, 12),
    )  # fmt: skip


def examples() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(32, 40, 98), torch.randint(12, (32,))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 1e-3)


def plain(widths: tuple[int, int]) -> Way:
    return lambda: nullcontext(in_torch(dense(widths)))


def distributed(widths: tuple[int, int], comm: MPI.Comm) -> Way:
    @contextmanager
    def way() -> Iterator[Callable[[], None]]:
        group = ENGINES["ddp"](STALL_S).group(comm, Pulse())
        yield in_torch(DistributedDataParallel(dense(widths)))
        group.close()

    return way


def in_torch(model: nn.Module) -> Callable[[], None]:
    """A step as torch's own examples write it."""
    optimizer, (x, y) = adam(model), examples()

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return step


def grouped(widths: tuple[int, int], comm: MPI.Comm, engine: Engine) -> Way:
    @contextmanager
    def way() -> Iterator[Callable[[], None]]:
        group, model, (x, y) = make_group(comm, Pulse(), engine), dense(widths), examples()
        optimizer = group.wrap(adam(model), model)

        def step() -> None:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            group.step(optimizer, model, CLIP)

        yield step
        group.close()

    return way


if __name__ == "__main__":
    main()
