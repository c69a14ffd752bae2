"""What foretells how good a tower is once it is trained from scratch: a rank correlation for each thing that trials could be
ranked by.

    tools/with_env.sh .venv python benchmarks/ranking.py RUN --towers 32 --results ranking.jsonl

Takes towers evenly from the ranking of a search that has ended, and trains each from scratch twice: as the finals do, for
``ensemble.epochs``, and for ``training.epochs``. After each epoch the validation split is judged by the weights and by their
averages. What is in the results already is not trained again. Prints a Markdown table of Spearman's correlation with the test
accuracy, and with minus the test loss and the calibrated one, at the end of the long training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.archive import Archive
from hpcnas.core.calibration import calibrated_loss
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

Row = Mapping[str, object]
"""A training: tower, epochs, what the search thought of the tower, figures after each epoch."""


JUDGED: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": metrics.accuracy,
    "loss": metrics.cross_entropy,
    "calibrated": calibrated_loss,
}
FIGURES: Mapping[str, Callable[[Row, int], float]] = {
    "accuracy": lambda row, after: row["accuracy"][after - 1],
    "loss": lambda row, after: -row["loss"][after - 1],
    "mean loss of the last three epochs": lambda row, after: -np.mean(row["loss"][max(0, after - 3) : after]),
    "averaged accuracy": lambda row, after: row["averaged accuracy"][after - 1],
    "averaged loss": lambda row, after: -row["averaged loss"][after - 1],
    "calibrated loss": lambda row, after: -row["calibrated"][after - 1],
    "averaged calibrated loss": lambda row, after: -row["averaged calibrated"][after - 1],
}
"""What a training could be ranked by after so many epochs, higher is better; averaged: by the averages of the weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--towers", type=int, default=32)
    parser.add_argument("--most-macs", type=int, default=0, help="leave larger towers out, which take long; 0: none")
    parser.add_argument("--results", type=Path, required=True, help="JSON lines; later calls add to it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = RunDir(arguments.run)
    config = configuration.load(run.config)
    archive = archive_of(run.search.journal)
    corpus = load_corpus(MPI.COMM_SELF, config)
    chosen = evenly(archive, arguments.towers, arguments.most_macs)
    short, long = config.training.epochs, config.ensemble.epochs
    rows = {(row["tower"], row["epochs"]): row for row in stored(arguments.results)}
    for trial in chosen:
        tower = str(archive.trials[trial].architecture)
        for epochs in (long, short):
            if (tower, epochs) not in rows:
                row = {"tower": tower, "epochs": epochs, **searched(archive, trial), **trained(config, corpus, tower, epochs)}
                with arguments.results.open("a", encoding="utf-8") as file:
                    print(json.dumps(row), file=file)
                rows[tower, epochs] = row
    towers = [str(archive.trials[trial].architecture) for trial in chosen]
    show([rows[tower, long] for tower in towers], [rows[tower, short] for tower in towers])


def evenly(archive: Archive, towers: int, most_macs: int) -> list[int]:
    """Trials from the best to the worst, equally far apart in the ranking."""
    known = [result.trial for result in archive.ranking if not most_macs or result.cost.macs <= most_macs]
    places = np.unique(np.linspace(0, len(known) - 1, min(towers, len(known))).round().astype(int))
    return [known[place] for place in places]


def searched(archive: Archive, trial: int) -> Row:
    """What the search itself has to say: with inherited weights, where the run has them."""
    result = archive.results[trial]
    return {
        "params": result.cost.params,
        "macs": result.cost.macs,
        "search accuracy": result.score,
        "search loss": result.loss,
        "training behind": training_behind(archive, trial),
    }


def training_behind(archive: Archive, trial: int) -> float:
    """Epochs in all: a tower's own, and of its parent's as much as it inherited of its parameters."""
    result, parent = archive.results[trial], archive.trials[trial].proposal.parent
    share = result.inherited / max(1, result.cost.params)
    return result.epochs + (share * training_behind(archive, parent) if parent is not None and share else 0.0)


def trained(config: Config, corpus: Corpus, tower: str, epochs: int) -> Row:
    """Figures on the validation split after each epoch, and on the test split at the end."""
    trainer = Trainer(corpus, SoloGroup(), replace(config.training, epochs=epochs), config.augmentation)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names), config.training.dropout)
    model = build_model(spell(tower, BLOCK_TYPES), around, config.seed)
    optimizer = trainer.optimizer_for(model)
    average = trainer.average_of(model)
    curves: dict[str, list[float]] = {f"{prefix}{what}": [] for prefix in ("", "averaged ") for what in JUDGED}
    for _ in trainer.train(model, optimizer, config.seed, average=average):
        for prefix, of in (("", model), ("averaged ", average.model)):
            for what, value in zip(JUDGED, judged(trainer, of, corpus.validation)):
                curves[f"{prefix}{what}"].append(value)
    test, plain = (judged(trainer, of, corpus.test) for of in (average.model, model))
    return {**curves, "test": test, "test of the weights": plain}


def judged(trainer: Trainer, model: nn.Module, split: Split) -> list[float]:
    logits = trainer.evaluate(model, split)
    return [figure(logits, split.labels) for figure in JUDGED.values()]


def stored(path: Path) -> Iterator[Row]:
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def show(long: list[Row], short: list[Row]) -> None:
    test = np.array([row["test"] for row in long])
    print(f"{len(long)} towers, test accuracy {test[:, 0].min():.1%} to {test[:, 0].max():.1%}\n")
    print("| ranked by | test accuracy | test loss | calibrated |\n|---|---|---|---|")
    choices: dict[str, Callable[[Row, Row], float]] = {
        "accuracy in the search": lambda one, _: one["search accuracy"],
        "loss in the search": lambda one, _: -one["search loss"],
        "the same, for equal training": lambda one, _: -np.log(one["search loss"]) - 0.4 * np.log(one["training behind"]),
    }
    for place, rows in ((1, short), (0, long)):
        of = rows[0]["epochs"]
        for after in sorted({2, of // 4, of // 2, 3 * of // 4, of} - {0, 1}):
            for what, figure in FIGURES.items():
                name = f"{what} from scratch after {after} of {of} epochs"
                choices[name] = lambda *pair, p=place, f=figure, a=after: f(pair[p], a)
    for name, choice in choices.items():
        values = [choice(*pair) for pair in zip(long, short)]
        goals = (test[:, 0], -test[:, 1], -test[:, 2])
        print(f"| {name} | {' | '.join(f'{spearman(values, goal):.2f}' for goal in goals)} |")
    gains = np.mean([np.subtract(row["test"], row["test of the weights"]) for row in long], 0)
    print(f"\nAveraging in the end: {100 * gains[0]:+.2f} points of test accuracy, {gains[1]:+.4f} of loss.")


def spearman(one: list[float], other: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (np.array(one), other)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
