"""How hard a corpus is: test accuracy of a linear classifier on mean log-mel, and of the hand-designed baseline.

    tools/with_env.sh .venv python benchmarks/difficulty.py [CONFIG.toml] [--set data.name=builtin_lid ...]

The baseline is ``ensemble.baseline``, trained for ``ensemble.epochs`` with full augmentation, one seed.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI
from torch import nn

from hpcnas import config as configuration
from hpcnas.core import metrics
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    config = configuration.load(arguments.config, arguments.set)
    corpus = load_corpus(MPI.COMM_SELF, config)
    print(f"linear classifier on mean log-mel: test accuracy {linear(corpus):.1%}", flush=True)
    training = replace(config.training, epochs=config.ensemble.epochs)
    trainer = Trainer(corpus, SoloGroup(), training, config.augmentation)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names), training.dropout)
    model = build_model(spell(config.ensemble.baseline, BLOCK_TYPES), around, config.seed)
    for _ in trainer.train(model, trainer.optimizer_for(model), config.seed):
        pass
    accuracy = metrics.accuracy(trainer.evaluate(model, corpus.test), corpus.test.labels)
    error = metrics.standard_error(accuracy, len(corpus.test))
    print(f"{config.ensemble.baseline}: test accuracy {accuracy:.1%}, standard error {error:.1%}, n = {len(corpus.test)}")


def linear(corpus: Corpus) -> float:
    """Logistic regression, fitted until it stands still."""
    features = {}
    for name in ("train", "test"):
        split = getattr(corpus, name)
        means = [split.frames[s : s + n].astype(np.float32).mean(0) for s, n in zip(split.starts, split.lengths)]
        features[name] = torch.from_numpy(np.stack(means))
    centre, scale = features["train"].mean(0), features["train"].std(0)
    train, test = ((features[name] - centre) / scale for name in ("train", "test"))
    classifier, labels = nn.Linear(train.shape[1], len(corpus.class_names)), torch.as_tensor(corpus.train.labels)
    optimizer = torch.optim.LBFGS(classifier.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(classifier(train), labels) + 1e-4 * classifier.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return metrics.accuracy(classifier(test).detach().numpy(), corpus.test.labels)


if __name__ == "__main__":
    main()
