"""What a paused trial loses that goes on with a fresh optimiser, against one that goes on with its own optimiser's state.

    tools/with_env.sh .venv python benchmarks/promotions.py benchmarks/arsc12.toml --set data.path=FOLDER --seeds 0 1 2

Every architecture is trained from scratch for ``training.epochs`` as a trial is, whole; with a fresh optimiser after 2 epochs,
where the first rung of successive halving is; and with one more after 6. The place in the learning rate's schedule is kept each
time. With its optimiser's state a trial does what it does uninterrupted, to the bit (``tests/test_trial_runner.py``). Prints a
Markdown table of validation scores as it comes, and what the state takes on disk.
"""

from __future__ import annotations

import argparse
import copy
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core import metrics
from hpcnas.core.significance import mean_interval
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus

RUNGS = (2, 6)
TOWERS = (
    "tcres:channels=24,kernel=9,stride=2/tcres:channels=32,kernel=9,stride=2/tcres:channels=48,kernel=9,stride=2",
    "conv:channels=16,kernel=3,stride=2/conv:channels=16,kernel=3,stride=2/dense:units=64",
    "dsconv:channels=32,kernel=5,stride=2/dsconv:channels=32,kernel=3,stride=1/dsconv:channels=48,kernel=3,stride=2",
    "tdnn:channels=64,kernel=5,dilation=1/tdnn:channels=64,kernel=5,dilation=2",
    "svdf:filters=128,memory=16/svdf:filters=128,memory=16/dense:units=64",
    "conv1d:channels=48,kernel=5,stride=2/gru:units=64",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration.load(arguments.config, arguments.set)
    corpus = load_corpus(MPI.COMM_SELF, config)
    augmentation = config.augmentation.scaled(config.augmentation.in_trials)
    trainer = Trainer(corpus, SoloGroup(), config.training, augmentation)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names), config.training.dropout)
    labels = corpus.validation.labels
    lost = defaultdict(list)
    print("| tower | seed | whole | fresh after 2 | fresh after 2 and 6 | loss | loss | loss | weights, state: kB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for tower in TOWERS:
        for seed in arguments.seeds:
            model = build_model(spell(tower, BLOCK_TYPES), around, seed)
            optimizer, ends, left = trainer.optimizer_for(model), [], {}
            # Each branch begins where the one before stood at its rung.
            for done, rung in zip((0, *RUNGS), (*RUNGS, 0)):
                for epoch, _ in enumerate(trainer.train(model, optimizer, seed, done), done + 1):
                    if epoch == rung:
                        left[rung] = copy.deepcopy(model)
                logits = trainer.evaluate(model, corpus.validation)
                ends.append((metrics.accuracy(logits, labels), metrics.cross_entropy(logits, labels)))
                sizes = [_kilobytes(model.state_dict()), _kilobytes(optimizer.state_dict())]
                if rung:
                    model = left[rung]
                    optimizer = trainer.optimizer_for(model)
            scores, losses = zip(*ends)
            for name, of in (("accuracy", scores), ("loss", losses)):
                for rungs in (1, 2):
                    lost[name, rungs].append(of[rungs] - of[0])
            cells = [tower.split(":")[0], str(seed), *(f"{100 * s:.1f}" for s in scores), *(f"{one:.3f}" for one in losses)]
            print("|", " | ".join([*cells, ", ".join(f"{size:.0f}" for size in sizes)]), "|", flush=True)
    for (name, rungs), differences in lost.items():
        low, high = mean_interval(np.array(differences))
        print(f"{name}, {rungs} fresh optimiser(s) less whole: {np.mean(differences):+.4f} ({low:+.4f} to {high:+.4f})")


def _kilobytes(state: dict) -> float:
    whole = io.BytesIO()
    torch.save(state, whole)
    return len(whole.getbuffer()) / 1000


if __name__ == "__main__":
    main()
