"""What each augmentation is worth: none, each alone, and all together, for one architecture.

    tools/with_env.sh .venv python benchmarks/augmentations.py benchmarks/arsc12.toml --set data.path=FOLDER --seeds 0 1 2

The hand-designed ``ensemble.baseline`` is trained as a member is, from scratch for ``ensemble.epochs``. Each part has its
configured strength, or one given here where it is off by default. Prints a Markdown table of test accuracies as it comes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.space import spell
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus

NONE = AugmentationConfig(shift=0, tempo=0, warp=0, noise_probability=0, frequency_masks=0, time_masks=0)
PARTS = {
    "time shift": ("shift",),
    "tempo": ("tempo",),
    "frequency warp": ("warp",),
    "volume": ("volume_db",),
    "noise": ("noise_probability",),
    "SpecAugment": ("frequency_masks", "time_masks"),
    "mixup": ("mixup",),
}
OFF_BY_DEFAULT = {"volume_db": 6.0, "mixup": 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration.load(arguments.config, arguments.set)
    corpus = load_corpus(MPI.COMM_SELF, config)
    strengths = {
        name: getattr(config.augmentation, name) or OFF_BY_DEFAULT.get(name, 0) for part in PARTS.values() for name in part
    }
    full = replace(config.augmentation, **strengths)
    variants = {
        "none": NONE,
        **{part: replace(NONE, **{name: strengths[name] for name in names}) for part, names in PARTS.items()},
        "as configured": config.augmentation,
        "all": full,
    }
    print("| augmentation | test accuracy | each seed | against none |\n|---|---|---|---|", flush=True)
    first = None
    for name, augmentation in variants.items():
        accuracies = [trained(config, corpus, augmentation, seed) for seed in arguments.seeds]
        mean = float(np.mean(accuracies))
        first = mean if first is None else first
        each = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        print(f"| {name} | {mean:.1%} | {each} | {100 * (mean - first):+.1f} |", flush=True)


def trained(config: Config, corpus: Corpus, augmentation: AugmentationConfig, seed: int) -> float:
    """Test accuracy after training from scratch."""
    trainer = Trainer(corpus, SoloGroup(), replace(config.training, epochs=config.ensemble.epochs), augmentation)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names), config.training.dropout)
    model = build_model(spell(config.ensemble.baseline, BLOCK_TYPES), around, seed)
    for _ in trainer.train(model, trainer.optimizer_for(model), seed):
        pass
    return metrics.accuracy(trainer.evaluate(model, corpus.test), corpus.test.labels)


if __name__ == "__main__":
    main()
