"""What a child knows before any training: children of a run's best trials against their parents, validation accuracy.

    tools/with_env.sh .venv python benchmarks/growth.py RUN [--children 30]

Children are parents with one block twice as wide, with a residual block of equal width behind one block (both start with the
parent's function), or with any block of the space on top. Prints one line a child, and means.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.inheritance.widening import WIDTH, is_wider
from hpcnas.core.mutation import grow, insert, swap
from hpcnas.core.trial import Proposal, Trial
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus
from hpcnas.store import weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

STEPS = ("widen", "deepen", "random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--children", type=int, default=30)
    arguments = parser.parse_args()
    run, rng = RunDir(arguments.run), np.random.default_rng(0)
    config = configuration.load(run.config)
    archive = Archive(record.event for record in replay(run.search.journal))
    corpus = load_corpus(MPI.COMM_SELF, config)
    trainer = Trainer(corpus, SoloGroup(), config.training)
    around = config.space.surroundings(corpus.bands, len(corpus.class_names))
    space, rows = config.space.build(), []
    while len(rows) < arguments.children:
        parent = archive.best(10)[rng.integers(min(10, len(archive.ranking)))]
        step = STEPS[len(rows) % len(STEPS)]
        tower, index = parent.architecture, int(rng.integers(parent.architecture.depth))
        if step == "random":
            index, child = tower.depth, grow(tower, space.sample(rng))
        else:
            child = (widened_at if step == "widen" else deepened_at)(tower, index)
        if child is None:
            continue
        trial = Trial(len(archive.trials) + len(rows), Proposal(child, parent.id, step), seed=len(rows))
        try:
            model = build_model(child, around, trial.seed)
        except ArchitectureError:
            continue
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        (donor,) = config.inheritance.donors(archive, trial)
        labels = corpus.validation.labels
        scratch = metrics.accuracy(trainer.evaluate(model, corpus.validation), labels)
        merged = config.inheritance.merge(trial, shapes, [(donor, weights.load_arrays(run.search.weights(parent.id)))])
        model.inherit(merged, config.inheritance.near_identity)
        after = metrics.accuracy(trainer.evaluate(model, corpus.validation), labels)
        before = archive.results[parent.id].score
        rows.append((before, after, scratch))
        block = child.blocks[index + (step == "deepen")]
        print(f"{step:6} {block!s:40} parent {before:6.1%}  child {after:6.1%}  from scratch {scratch:6.1%}", flush=True)
    for step, name in enumerate(STEPS):
        of_step = np.array(rows[step :: len(STEPS)])
        before, after, scratch = of_step.mean(0)
        kept = int((of_step[:, 1] >= of_step[:, 0] - 0.001).sum())
        print(
            f"{name}: parents {before:.1%}, children {after:.1%} ({kept} of {len(of_step)} as good), from scratch {scratch:.1%}"
        )


def widened_at(tower: Architecture, index: int) -> Architecture | None:
    """The tower with block ``index`` twice as wide; None where its kind cannot be widened."""
    block = tower.blocks[index]
    name = WIDTH.get(block.kind)
    if name is None:
        return None
    wider = Block(block.kind, tuple((k, 2 * v if k == name else v) for k, v in block.settings))
    return swap(tower, index, wider) if is_wider(wider, block) else None


def deepened_at(tower: Architecture, index: int) -> Architecture | None:
    """The tower with a residual block behind block ``index``; None where the shapes would not agree."""
    block = tower.blocks[index]
    width = dict(block.settings).get(WIDTH.get(block.kind, ""))
    if width is None or block.kind == "conv":
        return None
    return insert(tower, index + 1, Block("tdnn", (("channels", width), ("dilation", 1), ("kernel", 3))))


if __name__ == "__main__":
    main()
