"""Completed trials a second of other searches on this machine, with an objective that does nothing; beside throughput.py's.

    pip install propulate deephyper[mpi]      into the environment, for as long as this takes; Optuna is there
    tools/with_env.sh .venv python benchmarks/peers.py [--ranks 2 4 8] [--trials 1000]

Three settings to choose from a few values each, a random score at once, each used as its documentation shows: Propulate
(mpi4py, evolution, its pickle), DeepHyper (mpi4py, random search, results in rank 0's memory), Optuna (processes, random
sampler, journal file). Prints a Markdown table: completed trials a second, CPU milliseconds a trial over all processes.
What is not installed is left out, and said.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from mpi4py import MPI

MPIRUN = Path(__file__).parent.parent / "tools" / "mpirun.sh"
CHOICES = tuple(f"{kind}{width}" for kind in ("dense", "conv", "gru") for width in (8, 16, 32, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        PEERS[arguments.peer](arguments.trials)
        return
    print("| peer | ranks | trials/s | CPU ms a trial |")
    print("|---|---|---|---|")
    for peer in PEERS:
        if find_spec(peer) is None:
            print(f"{peer} is not installed", file=sys.stderr)
            continue
        for ranks in arguments.ranks:
            print(f"| {peer} | {ranks} | {measured(peer, ranks, arguments.trials)} |", flush=True)


def measured(peer: str, ranks: int, trials: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = [MPIRUN, "-np", str(ranks), sys.executable, Path(__file__).resolve(), "--peer", peer, "--trials", str(trials)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=600
        )
    figures = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("FIGURE ")]
    if not figures:
        return f"failed: {done.stderr.strip().splitlines()[-1][:80]} | "
    took, cpu, count = (float(x) for x in figures[0])
    return f"{count / took:.0f} | {1000 * cpu / count:.2f}"


def tell(world, start: float, before: float, completed: float) -> None:
    """Seconds, CPU seconds and trials of all ranks, on rank 0."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    took, cpu = time.perf_counter() - start, own.ru_utime + own.ru_stime - before
    cpu, completed = world.reduce(cpu), world.reduce(completed)
    if world.rank == 0:
        print("FIGURE", took, cpu, completed, flush=True)


def cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def propulate(trials: int) -> None:
    from propulate import Propulator
    from propulate.utils import get_default_propagator

    world = MPI.COMM_WORLD
    rng = random.Random(world.rank)
    own = trials // world.size
    limits = {f"block{i}": CHOICES for i in range(3)}
    propulator = Propulator(
        loss_fn=lambda individual: random.random(),
        propagator=get_default_propagator(pop_size=2 * world.size, limits=limits, rng=rng),
        rng=rng,
        propulate_comm=world,
        island_comm=world,
        generations=own,
        checkpoint_path=Path("propulate"),
    )
    world.Barrier()
    start, before = time.perf_counter(), cpu_s()
    propulator.propulate(logging_interval=10**9, debug=0)
    tell(world, start, before, own)


def optuna(trials: int) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    world = MPI.COMM_WORLD
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if world.rank == 0:
        optuna.create_study(study_name="own", storage=JournalStorage(JournalFileBackend("journal")), load_if_exists=True)
    world.Barrier()
    start, before = time.perf_counter(), cpu_s()
    sampler = optuna.samplers.RandomSampler(seed=world.rank)
    study = optuna.load_study(study_name="own", storage=JournalStorage(JournalFileBackend("journal")), sampler=sampler)

    def score(trial: optuna.Trial) -> float:
        for i in range(3):
            trial.suggest_categorical(f"block{i}", CHOICES)
        return random.random()

    study.optimize(score, n_trials=trials // world.size)
    world.Barrier()
    tell(world, start, before, trials // world.size)


def deephyper(trials: int) -> None:
    from deephyper.evaluator import MPICommEvaluator
    from deephyper.evaluator.storage import MemoryStorage
    from deephyper.hpo import HpProblem, RandomSearch

    world = MPI.COMM_WORLD
    problem = HpProblem()
    for i in range(3):
        problem.add_hyperparameter(list(CHOICES), f"block{i}")
    evaluator = MPICommEvaluator(score_at_once, storage=MemoryStorage())
    world.Barrier()
    start, before = time.perf_counter(), cpu_s()
    with evaluator:
        if evaluator.is_master:
            RandomSearch(problem).search(evaluator, max_evals=trials)
    tell(world, start, before, trials if evaluator.is_master else 0)


def score_at_once(job) -> float:
    return random.random()


PEERS = {"propulate": propulate, "deephyper": deephyper, "optuna": optuna}


if __name__ == "__main__":
    main()
