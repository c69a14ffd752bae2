"""Completed trials a second of other searches on this machine, with an objective that does nothing or sleeps; beside
throughput.py's.

    pip install propulate deephyper[mpi] ray[tune]      into the environment, for as long as this takes; Optuna is there
    tools/with_env.sh .venv python benchmarks/peers.py [--ranks 2 4 8] [--trials 1000] [--objective-ms 50]

Three settings to choose from a few values each, a random score, each used as its documentation shows: Propulate (mpi4py,
evolution, its pickle), DeepHyper (mpi4py, random search, results in rank 0's memory), Optuna (processes, random sampler,
journal file), Ray Tune (as many trials at a time as ranks, actors used again). Prints a Markdown table: completed trials a
second, CPU milliseconds of a trial over all processes (not of Ray, whose processes are its own), and with an objective the
share of time that workers spent outside it. What is not installed is left out, and said.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from mpi4py import MPI
from processes import ProgramFailed, hear, on_ranks, tell

SCRIPT = Path(__file__).resolve()
CHOICES = tuple(f"{kind}{width}" for kind in ("dense", "conv", "gru") for width in (8, 16, 32, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--objective-ms", type=float, default=0.0)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        tell(PEERS[arguments.peer](arguments.trials, arguments.ranks[0], Objective(arguments.objective_ms / 1000)))
        return
    print("| peer | ranks | trials/s | CPU ms a trial | idle |")
    print("|---|---|---|---|---|")
    for peer in PEERS:
        if find_spec(peer) is None:
            print(f"{peer} is not installed", file=sys.stderr)
            continue
        for ranks in arguments.ranks:
            print(f"| {peer} | {ranks} | {measured(peer, ranks, arguments)} |", flush=True)


@dataclass
class Objective:
    """A random score behind a sleep."""

    sleep_s: float
    busy_s: float = 0.0
    """Spent in it by this process."""

    def __call__(self, *what: object) -> float:
        if self.sleep_s:
            start = time.perf_counter()
            time.sleep(self.sleep_s)
            self.busy_s += time.perf_counter() - start
        return random.random()


def measured(peer: str, ranks: int, arguments: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as folder:
        options = {"peer": peer, "ranks": ranks, "trials": arguments.trials, "objective-ms": arguments.objective_ms}
        own = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        command = [sys.executable, SCRIPT, *own] if peer == "ray" else on_ranks(ranks, SCRIPT, *own)
        try:
            figures = hear(command, cwd=folder, timeout=600)
        except ProgramFailed as error:
            return f"failed: {str(error).splitlines()[-1][:80]} | | "
    took = max(figure["took_s"] for figure in figures)
    cpu, trials, busy, workers = (sum(figure[name] for figure in figures) for name in ("cpu_s", "trials", "busy_s", "workers"))
    idle = f"{1 - busy / (took * workers):.1%}" if arguments.objective_ms else ""
    return f"{trials / took:.0f} | {f'{1000 * cpu / trials:.2f}' if cpu else ''} | {idle}"


class Meter:
    """What one process spends from here on."""

    def __init__(self) -> None:
        self._start, self._before = time.perf_counter(), time.process_time()

    def figure(self, trials: int, busy_s: float, workers: int) -> dict:
        """Of ``trials`` that this process has finished, ``busy_s`` and ``workers`` of those that run them within it."""
        took, cpu = time.perf_counter() - self._start, time.process_time() - self._before
        return {"took_s": took, "cpu_s": cpu, "trials": trials, "busy_s": busy_s, "workers": workers}


def propulate(trials: int, ranks: int, objective: Objective) -> dict:
    from propulate import Propulator
    from propulate.utils import get_default_propagator

    world = MPI.COMM_WORLD
    rng = random.Random(world.rank)
    own = trials // ranks
    limits = {f"block{i}": CHOICES for i in range(3)}
    propulator = Propulator(
        loss_fn=objective,
        propagator=get_default_propagator(pop_size=2 * ranks, limits=limits, rng=rng),
        rng=rng,
        propulate_comm=world,
        island_comm=world,
        generations=own,
        checkpoint_path=Path("propulate"),
    )
    world.Barrier()
    meter = Meter()
    propulator.propulate(logging_interval=10**9, debug=0)
    return meter.figure(own, objective.busy_s, 1)


def deephyper(trials: int, ranks: int, objective: Objective) -> dict:
    from deephyper.evaluator import MPICommEvaluator
    from deephyper.evaluator.storage import MemoryStorage
    from deephyper.hpo import HpProblem, RandomSearch

    world = MPI.COMM_WORLD
    problem = HpProblem()
    for i in range(3):
        problem.add_hyperparameter(list(CHOICES), f"block{i}")

    evaluator = MPICommEvaluator(partial(timed, objective), storage=MemoryStorage())
    world.Barrier()
    meter = Meter()
    with evaluator:
        if evaluator.is_master:
            found = RandomSearch(problem).search(evaluator, max_evals=trials)
            return meter.figure(len(found), float(found["m:busy_s"].sum()), ranks - 1)
    return meter.figure(0, 0.0, 0)


def timed(objective: Objective, job: object) -> dict:
    """For DeepHyper, which sends it to other ranks."""
    before = objective.busy_s
    return {"objective": objective(), "metadata": {"busy_s": objective.busy_s - before}}


def optuna(trials: int, ranks: int, objective: Objective) -> dict:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    world = MPI.COMM_WORLD
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if world.rank == 0:
        optuna.create_study(study_name="own", storage=JournalStorage(JournalFileBackend("journal")), load_if_exists=True)
    world.Barrier()
    meter = Meter()
    sampler = optuna.samplers.RandomSampler(seed=world.rank)
    study = optuna.load_study(study_name="own", storage=JournalStorage(JournalFileBackend("journal")), sampler=sampler)

    def score(trial: optuna.Trial) -> float:
        for i in range(3):
            trial.suggest_categorical(f"block{i}", CHOICES)
        return objective()

    study.optimize(score, n_trials=trials // ranks)
    world.Barrier()
    return meter.figure(trials // ranks, objective.busy_s, 1)


def ray(trials: int, ranks: int, objective: Objective) -> dict:
    import ray as library
    from ray import tune

    library.init(num_cpus=ranks, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def score(config: dict) -> None:
        before = objective.busy_s
        value = objective()
        tune.report({"value": value, "busy_s": objective.busy_s - before})

    tuner = tune.Tuner(
        tune.with_resources(score, {"cpu": 1}),
        param_space={f"block{i}": tune.choice(list(CHOICES)) for i in range(3)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=ranks, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(Path("ray").absolute()), verbose=0),
    )
    meter = Meter()
    found = tuner.fit()
    return meter.figure(len(found), sum(result.metrics["busy_s"] for result in found), ranks) | {"cpu_s": 0}


PEERS = {"propulate": propulate, "deephyper": deephyper, "optuna": optuna, "ray": ray}


if __name__ == "__main__":
    main()
