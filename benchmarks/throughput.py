"""How many trials a second the coordination of a search can do, when the trials themselves take no time, or a given one.

    tools/with_env.sh .venv python benchmarks/throughput.py [--ranks 2 4 8] [--trials 20000] [--objective-ms 50]

The real server, journal, archive and workers under mpirun, with random search; only what a group does with an assignment is
replaced by a random score, after ``--objective-ms`` of sleep, of which the last tenth stands for the last validation. Beside it
the bare loop: mpi4py's send and recv between one rank that answers and others that ask, which never sleep. Prints a Markdown
table: completed trials a second, CPU milliseconds of a trial over all ranks, the rate around the last trials against that near
the 1,000th, and with an objective the share of time that groups were idle: neither in it nor, as sleepers are, woken late.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mpi4py import MPI
from processes import hear, on_ranks, tell

from hpcnas import config as configuration
from hpcnas.core.inheritance import NoInheritance
from hpcnas.core.messages import Ahead, Ready, Stop
from hpcnas.core.stopping import NeverStop
from hpcnas.core.strategies import RandomSearch
from hpcnas.core.trial import Cost, Result, TrialState
from hpcnas.runtime.channel import GroupChannel
from hpcnas.runtime.desk import Desk
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.plan import Plan
from hpcnas.runtime.stage import run_trials
from hpcnas.runtime.worker import Line
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

VALIDATION = 0.1
"""Share of an objective that is left when a group asks for its next trial."""


class NoTraining:
    """A group that answers every assignment with a random score."""

    def __init__(self, number: int, channel: GroupChannel, line: Line, objective_s: float) -> None:
        self._number, self._line, self._objective_s = number, line, objective_s
        self._rng = np.random.default_rng(number)

    def work(self) -> None:
        result = None
        while not isinstance(order := self._line.ask(Ready(self._number, result)), Stop):
            start = time.monotonic()
            if self._objective_s:
                time.sleep((1 - VALIDATION) * self._objective_s)
                self._line.announce(Ahead(self._number))
                time.sleep(VALIDATION * self._objective_s)
            took = time.monotonic() - start  # a sleep lasts longer than it should
            score = float(self._rng.random())
            result = Result(
                order.trial.id, TrialState.COMPLETED, score, 1 - score, Cost(1, 1, 1), 1, 1, 0, took,
                self._number, (score,),
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--objective-ms", type=float, default=0.0)
    parser.add_argument("--rank", choices=("search", "loop"), help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank == "search":
        run_program(lambda world, _: search(world, arguments), [])
    if arguments.rank == "loop":
        run_program(lambda world, _: loop(world, arguments.trials), [])
    print("| ranks | | trials/s | CPU ms a trial | late against early | idle share of groups |")
    print("|---|---|---|---|---|---|")
    for ranks in arguments.ranks:
        for what in ("loop", "search") if not arguments.objective_ms else ("search",):
            print(f"| {ranks} | {measured(what, ranks, arguments)} |", flush=True)


def measured(what: str, ranks: int, arguments: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as folder:
        own = [f"--{name}={value}" for name, value in (("trials", arguments.trials), ("objective-ms", arguments.objective_ms))]
        figures = hear(on_ranks(ranks, __file__, "--rank", what, "--run", folder, *own))
        assert len(figures) == ranks, figures
        took, cpu = max(figure["took_s"] for figure in figures), sum(figure["cpu_s"] for figure in figures)
        row = f"{what} | {arguments.trials / took:.0f} | {1000 * cpu / arguments.trials:.2f} | "
        if what == "loop":
            return f"{row} | "
        records = [record for record in replay(Path(folder) / "journal.jsonl") if isinstance(record.event, Result)]
        at = [record.elapsed for record in records]
        share = min(1000, len(at) // 4)
        early, late = (share / max(1e-3, at[i + share - 1] - at[i]) for i in (share, len(at) - share))
        began = min(record.elapsed - record.event.seconds for record in records)
        busy = sum(record.event.seconds for record in records) / ((at[-1] - began) * (ranks - 1))
        return f"{row}{late / early:.2f} | {f'{1 - busy:.1%}' if arguments.objective_ms else ''}"


def search(world: MPI.Intracomm, arguments: argparse.Namespace) -> int:
    run, config = RunDir(arguments.run), configuration.Config()
    space = replace(config.space, blocks=("dense:units=8|12|16|20|24|32|40|48|56|64",), max_depth=8)
    config = replace(config, search=replace(config.search, max_trials=arguments.trials), space=space)
    set_up_logging(run, world.rank)
    corpus = SimpleNamespace(bands=40, window=98, class_names=("",) * 12)
    plan = Plan(
        stage=run.search, strategy=RandomSearch(min_depth=5), inheritance=NoInheritance(), stopping=NeverStop(),
        tuning=config.tuning, combiner=config.combiner, search=config.search, training=config.training,
        augmentation=config.augmentation, budget=config.space.budget,
    )  # fmt: skip
    world.Barrier()
    before, start = time.process_time(), time.perf_counter()
    goes = lambda number, group, channel, line: NoTraining(number, channel, line, arguments.objective_ms / 1000)  # noqa: E731
    desk = lambda: Desk(config, corpus, plan)  # noqa: E731
    status = run_trials(world, config, desk, goes)
    tell({"cpu_s": time.process_time() - before, "took_s": time.perf_counter() - start})
    return status


def loop(world: MPI.Intracomm, trials: int) -> int:
    world.Barrier()
    before, start = time.process_time(), time.perf_counter()
    if world.rank == 0:
        answered, asking, status = 0, world.size - 1, MPI.Status()
        while asking:
            world.recv(source=MPI.ANY_SOURCE, tag=1, status=status)
            answered += 1
            asking -= answered > trials
            world.send(None if answered > trials else answered, dest=status.source, tag=2)
    else:
        while True:
            world.send(world.rank, dest=0, tag=1)
            if world.recv(source=0, tag=2) is None:
                break
    tell({"cpu_s": time.process_time() - before, "took_s": time.perf_counter() - start})
    return 0


if __name__ == "__main__":
    logging.captureWarnings(True)
    main()
