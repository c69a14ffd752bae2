"""Searched models under limits of size, their ensembles, and hand-designed models of those sizes trained in the same way.

    tools/with_env.sh .venv python benchmarks/sizes.py benchmarks/arsc12.toml --set data.path=FOLDER \
        --limits 65000 30000 10000 --seeds 0 1 2 --folder /tmp/sizes

Each run is a search and its ensemble stage, in which the baseline of its size is trained as one member is: the same recipe, the
same steps. Runs of one process each, ``--jobs`` at a time; what is in the folder already is not run again. Prints a Markdown
table of test figures, means over the seeds. Without ``--limits`` the configuration's own limit and baseline hold: with no
configuration that is the table of the default run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core import metrics, resampling
from hpcnas.core.archive import Archive
from hpcnas.core.significance import bootstrap_interval, mcnemar
from hpcnas.core.trial import Cost
from hpcnas.core.units import thousands
from hpcnas.judging.evaluation import figures_of
from hpcnas.nn.corpus import Corpus
from hpcnas.runtime.features import load_corpus
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier
from hpcnas.zoo import ZOO

BASELINES = {65_000: "TC-ResNet8", 30_000: "BC-ResNet-2-t2", 10_000: "BC-ResNet-1-t2"}
"""A model of the zoo by the limit that it keeps, or nearly."""


@dataclass(frozen=True)
class Row:
    """Test figures of one model."""

    cost: Cost
    accuracy: float
    interval: tuple[float, float]
    eer: float
    cavg: float
    misses: float
    """Of keywords in the stream, at one false alarm an hour; NaN where there are none."""


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    single: Row
    """The winner of the finals, trained once: the first member."""
    members: float
    """Mean test accuracy."""
    ensemble: Row
    baseline: Row | None
    p: float
    """McNemar's, of ensemble and baseline being equally often right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--limits", type=int, nargs="+", choices=BASELINES, default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    settings = {
        limit: [f"space.max_params={limit}", f"ensemble.baseline={ZOO[BASELINES[limit]].architecture}"]
        for limit in arguments.limits
    }
    settings = settings or {0: []}
    runs = {(limit, seed): arguments.folder / f"{limit or 'default'}-{seed}" for seed in arguments.seeds for limit in settings}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for (limit, seed), run in runs.items():
            pool.submit(train, arguments.config, run, [f"seed={seed}", *settings[limit], *arguments.set])
    torch.set_num_threads(arguments.jobs)
    figures = {key: measure(RunDir(run)) for key, run in runs.items()}
    print("| model | test accuracy | each seed | 95 % of the first | parameters | MACs | EER | Cavg | misses at 1/h |")
    print("|---|---|---|---|---|---|---|---|---|")
    notes = [print_rows(limit, [figures[limit, seed] for seed in arguments.seeds]) for limit in settings]
    print("\n" + "\n".join(notes))


def train(config: Path | None, run: Path, changes: Sequence[str]) -> None:
    """Search and ensemble stage, each only if it is not complete."""
    settings = [part for change in changes for part in ("--set", change)]
    given = [str(config)] if config else []
    for command in (["hpcnas.search", *given, "--run", str(run), "--resume", *settings], ["hpcnas.ensemble", str(run)]):
        done = subprocess.run(
            [sys.executable, "-m", *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        print(f"{run.name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
        if done.returncode:
            return


def measure(run: RunDir) -> Figures:
    config = configuration.load(run.config)
    corpus = load_corpus(MPI.COMM_SELF, config)
    archive = Archive(record.event for record in replay(run.ensemble.journal))
    ensemble = ensemble_file.load(run.ensemble_file)
    logits = [weights.load_logits(run.stage(member.stage).weights(member.trial), "test") for member in ensemble.members]
    costs = [archive.results[member.trial].cost for member in ensemble.members]
    total = Cost(sum(c.params for c in costs), sum(c.macs for c in costs), 0)
    labels, whole = corpus.test.labels, ensemble.logits["test"]
    baseline, p = None, float("nan")
    for trial in archive.trials.values():
        if trial.proposal.role == "baseline":
            own = weights.load_logits(run.ensemble.weights(trial.id), "test")
            baseline = row(run, "baseline", corpus, own, archive.results[trial.id].cost)
            p = mcnemar(whole.argmax(1) == labels, own.argmax(1) == labels)
    return Figures(
        row(run, "member 0", corpus, logits[0], costs[0]),
        float(np.mean([metrics.accuracy(of, labels) for of in logits])),
        row(run, "ensemble", corpus, whole, total),
        baseline,
        p,
    )


def row(run: RunDir, name: str, corpus: Corpus, logits: np.ndarray, cost: Cost) -> Row:
    labels = corpus.test.labels
    evaluation = figures_of(Classifier.open(run, name), corpus, corpus.test, logits)
    named = {figure.name: figure.value for figure in evaluation.figures}
    return Row(
        cost,
        metrics.accuracy(logits, labels),
        bootstrap_interval(resampling.accuracy, logits, labels),
        metrics.eer(logits, labels),
        metrics.cavg(logits, labels),
        named.get("misses at 1 false alarm an hour", float("nan")),
    )


def print_rows(limit: int, figures: Sequence[Figures]) -> str:
    """Baseline, one searched model and ensemble under one limit; returns what else is to be said of them."""
    baseline = BASELINES[limit] if limit else "baseline"
    where = f" of at most {thousands(limit)}" if limit else ""
    kinds: Mapping[str, Callable[[Figures], Row | None]] = {
        f"{baseline}, by hand": lambda f: f.baseline,
        f"searched, one{where}": lambda f: f.single,
        f"searched, two averaged{where}": lambda f: f.ensemble,
    }
    for name, of in kinds.items():
        rows = [row for f in figures if (row := of(f)) is not None]
        if not rows:
            continue
        cells = [
            f"{np.mean([r.accuracy for r in rows]):.1%}",
            ", ".join(f"{r.accuracy:.1%}" for r in rows),
            f"{rows[0].interval[0]:.1%} to {rows[0].interval[1]:.1%}",
            thousands(round(np.mean([r.cost.params for r in rows]))),
            thousands(round(np.mean([r.cost.macs for r in rows]))),
            f"{np.mean([r.eer for r in rows]):.2%}",
            f"{np.mean([r.cavg for r in rows]):.3f}",
            "" if np.isnan(rows[0].misses) else f"{np.mean([r.misses for r in rows]):.1%}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    members = ", ".join(f"{f.members:.1%}" for f in figures)
    gain = np.mean([f.ensemble.accuracy - f.members for f in figures])
    p = ", ".join(f"{f.p:.2f}" for f in figures if f.baseline)
    against = f"; two averaged against by hand p = {p}" if p else ""
    return f"Members{where}: {members}; two averaged {100 * gain:+.1f} points{against}."


if __name__ == "__main__":
    main()
