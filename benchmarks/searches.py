"""Compare strategies and inheritance rules: same data, blocks, trainer, seeds and training steps.

    tools/with_env.sh .venv python benchmarks/searches.py benchmarks/arsc12.toml --set data.path=FOLDER \
        --set search.max_steps=9000 --seeds 0 1 2 --folder /tmp/searches

Runs of one process each, as many at a time as there are cores or ``--jobs``; what is in the folder already is not run again.
Propulate is not among our packages: pip install propulate. Prints a Markdown table, means over the seeds: best validation
accuracy, test accuracy of that trial, its parameters, training steps in all, until 95 % of the final best, and until the
accuracy that each of the searches without inheritance ends at (for each seed, and of the means over the seeds).
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import peer_strategies
import torch
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core import metrics
from hpcnas.core.archive import Archive
from hpcnas.core.trial import Result
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import rebuilt
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus
from hpcnas.store import weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

PROGRAM = Path(peer_strategies.__file__)
"""hpcnas.search, with other packages' strategies as well; they are known here too since it is loaded."""
OFF = ["inheritance.name=none"]
PAPER = [f"inheritance.{name}=false" for name in ("behind", "near_identity", "widen", "overlap")]
PLAIN = ["stopping.name=none", "search.zoo=[]"]
RANDOM = ["strategy.name=random", *PLAIN]
EVOLUTION = ["strategy.name=regularized_evolution", *PLAIN]
INCREMENTAL = ["strategy.name=incremental", *PLAIN]
LOCAL = ["strategy.name=local_search", *PLAIN]
OTHERS = ("pareto", "constrained", "linear_model", "harmonica")
VARIANTS = {
    "random, none": [*RANDOM, *OFF],
    "Optuna's TPE, none": ["strategy.name=optuna_tpe", *PLAIN, *OFF],
    "Propulate, none": ["strategy.name=propulate", *PLAIN, *OFF],
    "evolution, none": [*EVOLUTION, *OFF],
    "evolution, inheritance": EVOLUTION,
    "incremental, none": [*INCREMENTAL, *OFF],
    "incremental, the paper's transfer": [*INCREMENTAL, *PAPER],
    "incremental, inheritance": INCREMENTAL,
    **{f"{name}, inheritance": [f"strategy.name={name}", *PLAIN] for name in OTHERS},
    "local search, inheritance": LOCAL,
    "local search + asha, inheritance": [*LOCAL, "stopping.name=asha"],
    "the default without inheritance": OFF,
    "the default": [],
}
"""Strategy and inheritance, with what they set. The default has the zoo, small steps, successive halving and inheritance."""


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    steps: np.ndarray
    """Training steps after each trial, summed up."""
    best: np.ndarray
    """Best validation accuracy so far."""
    test: float
    params: int

    def steps_until(self, accuracy: float) -> float:
        """NaN if it was never reached."""
        reached = np.flatnonzero(self.best >= accuracy)
        return float(self.steps[reached[0]]) if len(reached) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--variants", choices=VARIANTS, nargs="+", default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    runs = {
        (name, seed): (arguments.folder / f"{name} {seed}".replace(", ", "-").replace(" ", "-").replace("'", ""), changes)
        for seed in arguments.seeds
        for name, changes in ((name, VARIANTS[name]) for name in arguments.variants)
    }
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for (_, seed), (run, changes) in runs.items():
            pool.submit(search, arguments.config, run, [*arguments.set, *changes, f"seed={seed}"])
    torch.set_num_threads(os.cpu_count() or 1)
    figures = {key: measure(RunDir(run)) for key, (run, _) in runs.items()}
    print_table(figures, arguments.seeds)


def search(config: Path, run: Path, changes: list[str]) -> None:
    if (run / "complete").exists():
        return
    settings = [part for change in changes for part in ("--set", change)]
    command = [sys.executable, PROGRAM, str(config), "--run", str(run), "--resume", *settings]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    print(f"{run.name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr, flush=True)


def measure(run: RunDir) -> Figures:
    archive, steps, scores = Archive(), [], []
    for event in (record.event for record in replay(run.search.journal)):
        archive.add(event)
        if isinstance(event, Result) and event.state.has_score:
            steps.append(archive.steps)
            scores.append(archive.ranking[0].score)
    best = archive.ranking[0]
    config = configuration.load(run.config)
    corpus = load_corpus(MPI.COMM_SELF, config)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names))
    model = rebuilt(archive.trials[best.trial].architecture, weights.load_arrays(run.search.weights(best.trial)), around)
    logits = Trainer(corpus, SoloGroup(), config.training).evaluate(model, corpus.test)
    return Figures(
        steps=np.array(steps),
        best=np.maximum.accumulate(scores),
        test=metrics.accuracy(logits, corpus.test.labels),
        params=best.cost.params,
    )


def print_table(figures: dict[tuple[str, int], Figures], seeds: list[int]) -> None:
    names = list(dict.fromkeys(name for name, _ in figures))
    rivals = [name for name in names if name.endswith(", none")]
    print(
        "| search | validation | test | parameters | steps | to 95 % of its best |", *(f"to the end of {r} |" for r in rivals)
    )
    print("|---|---|---|---|---|---|" + "---|" * len(rivals))
    for name in names:
        rows = [figures[name, seed] for seed in seeds]
        cells = [
            f"{np.mean([r.best[-1] for r in rows]):.2%} ({', '.join(f'{r.best[-1]:.1%}' for r in rows)})",
            f"{np.mean([r.test for r in rows]):.2%}",
            f"{np.mean([r.params for r in rows]) / 1000:.1f}k",
            f"{np.mean([r.steps[-1] for r in rows]):.0f}",
            f"{np.mean([r.steps_until(0.95 * r.best[-1]) for r in rows]):.0f}",
            *(reaching(rows, [figures[rival, seed].best[-1] for seed in seeds]) for rival in rivals),
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def reaching(rows: Sequence[Figures], ends: Sequence[float]) -> str:
    """Steps until each seed is where a rival ended, and until the mean over the seeds is where the rivals' mean is."""
    moments = np.unique(np.concatenate([row.steps for row in rows]))
    known = [np.searchsorted(row.steps, moments, side="right") for row in rows]
    mean = np.mean([np.concatenate([[0.0], row.best])[count] for row, count in zip(rows, known)], axis=0)
    there = np.flatnonzero(mean >= np.mean(ends))
    steps = [*(row.steps_until(end) for row, end in zip(rows, ends)), moments[there[0]] if len(there) else math.nan]
    *seeds, together = ("never" if math.isnan(count) else f"{count:.0f}" for count in steps)
    return f"{', '.join(seeds)}; mean {together}"


if __name__ == "__main__":
    main()
