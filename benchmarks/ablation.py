"""What each part of the default search is worth: the same search and finals without it, or with another combiner, from scratch
to the end, several seeds.

    tools/with_env.sh .venv python benchmarks/ablation.py benchmarks/arsc12.toml --set data.path=FOLDER --folder /tmp/ablation \
        --set space.max_params=10000 --set ensemble.epochs=20

Search, finals and two members for each variant and seed, in one process each, as many at a time as ``--jobs``.
What is in the folder is not run again. Prints a Markdown table: means over seeds and members, with the standard error of the
difference to the whole, paired by seed.
"""

from __future__ import annotations

import argparse
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from by_hand import program

from hpcnas.core import metrics
from hpcnas.core.calibration import calibrated_loss
from hpcnas.core.units import thousands
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

VARIANTS = {
    "everything": (),
    "no zoo to begin with": ("search.zoo=[]",),
    "no grafts": ("strategy.grafts=0",),
    "no crossover": ("strategy.crossover=0",),
    "not fitted to the limit": ("space.fit=false",),
    "the paper's steps": ("strategy.name=incremental",),
    "ranked by accuracy": ("search.rank_by=objective",),
    "ranked by the plain loss": ("search.rank_by=loss",),
    "no averaged weights": ("training.averaging=0",),
    "no inheritance": ("inheritance.name=none",),
    "no halving of trials": ("stopping.name=none", "search.max_trials=20"),
    "no challengers": ("ensemble.challengers=0",),
    "adaptive": ("combiner.name=adaptive", "combiner.trials_per_member=18"),
    "residual": ("combiner.name=residual", "combiner.trials_per_member=18"),
    "intermixed": ("combiner.name=intermixed",),
    "four finalists, no race": ("ensemble.challengers=0", "ensemble.finalists=4", "ensemble.finishers=4"),
}
"""What is left out, and the settings that do so. 20 whole trials take the epochs of 44 of which two thirds pause after two."""
MEMBERS = 2


@dataclass(frozen=True)
class Outcome:
    """Of a variant and seed: means over the members, trained from scratch."""

    loss: float
    """Cross entropy on the validation split, nats."""
    accuracy: float
    """On the test split, in [0, 1]."""
    averaged: float
    """The same of the members' average."""
    calibrated: float
    """Cross entropy on the test split at the temperature that makes it lowest, nats."""
    params: float
    """Of all members together; so are the operations."""
    macs: float
    steps: float
    """Of search and finals, in trainings of the winner."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.variants = list(dict.fromkeys(("everything", *arguments.variants)))  # which the others are held against
    work = [(seed, variant) for seed in range(arguments.seeds) for variant in arguments.variants]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        done = dict(zip(work, pool.map(lambda one: outcome(arguments, *one), work)))
    seeds = range(arguments.seeds)
    of_test = ("test accuracy", "against the whole", "averaged", "test loss, calibrated")
    columns = ("left out", *of_test, "validation loss", "parameters of all", "MACs", "trainings")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for variant in arguments.variants:
        ours = [done[seed, variant] for seed in seeds]
        behind = [100 * (done[seed, variant].accuracy - done[seed, "everything"].accuracy) for seed in seeds]
        error = f" ± {np.std(behind, ddof=1) / np.sqrt(len(behind)):.1f}" if len(behind) > 1 else ""
        mean = {key: float(np.mean([getattr(one, key) for one in ours])) for key in vars(ours[0])}
        each = ", ".join(f"{one.accuracy:.1%}" for one in ours)
        print(
            f"| {variant} | {mean['accuracy']:.1%} ({each}) | {np.mean(behind):+.1f}{error} "
            f"| {mean['averaged']:.1%} | {mean['calibrated']:.3f} | {mean['loss']:.3f} "
            f"| {thousands(mean['params'])} | {thousands(mean['macs'])} | {mean['steps']:.0f} |"
        )


def outcome(arguments: argparse.Namespace, seed: int, variant: str) -> Outcome:
    """The result of a variant, which is run where it is missing."""
    run = RunDir(folder_of(arguments, seed, variant))
    fixed = (f"seed={seed}", f"ensemble.members={MEMBERS}", "ensemble.baseline=")
    settings = [part for change in (*fixed, *arguments.set, *VARIANTS[variant]) for part in ("--set", change)]
    whole = folder_of(arguments, seed, "everything")
    if whole.exists() and not run.root.exists() and all(change.startswith("ensemble.") for change in VARIANTS[variant]):
        shutil.copytree(whole, run.root, ignore=shutil.ignore_patterns("ensemble", "report"))  # the same search
    if not run.ensemble_file.exists():
        program("hpcnas.search", str(arguments.config), "--run", str(run.root), "--resume", *settings)
        of_finals = [part for change in VARIANTS[variant] if change.startswith("ensemble.") for part in ("--set", change)]
        program("hpcnas.ensemble", str(run.root), *of_finals)
    stored, finals = ensemble_file.load(run.ensemble_file), archive_of(run.ensemble.journal)
    results = [finals.results[member.trial] for member in stored.members]
    logits = [weights.load_logits(run.ensemble.weights(result.trial), "test") for result in results]
    return Outcome(
        loss=float(np.mean([result.loss for result in results])),
        accuracy=float(np.mean([metrics.accuracy(of, stored.labels["test"]) for of in logits])),
        calibrated=float(np.mean([calibrated_loss(of, stored.labels["test"]) for of in logits])),
        averaged=metrics.accuracy(stored.logits["test"], stored.labels["test"]),
        params=sum(result.cost.params for result in results),
        macs=sum(result.cost.macs for result in results),
        steps=(archive_of(run.search.journal).steps + finals.steps) / results[0].steps,
    )


def folder_of(arguments: argparse.Namespace, seed: int, variant: str) -> Path:
    return arguments.folder / variant.replace(" ", "-").replace("'", "").replace(",", "") / str(seed)


if __name__ == "__main__":
    main()
