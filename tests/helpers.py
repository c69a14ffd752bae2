"""Made-up values for tests of the pure logic."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpcnas import config as configuration
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.space import BlockType, SearchSpace
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState, unscored
from hpcnas.data import features
from hpcnas.data.corpus import CorpusIndex, DataConfig
from hpcnas.data.features import Division, FilterBank, Share
from hpcnas.store import archive_file, ensemble_file, model_card, weights
from hpcnas.store.ensemble_file import EnsembleFile, Member
from hpcnas.store.journal import Journal
from hpcnas.store.model_card import ModelCard
from hpcnas.store.run_dir import RunDir

DENSE = BlockType("dense", "sequence", {"units": (8, 16, 32)}, "")
GRU = BlockType("gru", "sequence", {"units": (4, 8), "layers": (1, 2)}, "")
SPACE = SearchSpace((DENSE, GRU), max_depth=4)


def trial(id_: int, architecture: str = "dense:units=8", parent: int | None = None) -> Trial:
    return Trial(id_, Proposal(Architecture.parse(architecture), parent, "start"), seed=id_)


def completed(id_: int, accuracy: float, *, loss: float = 1.0, params: int = 100, curve: tuple[float, ...] = ()) -> Result:
    cost = Cost(params, 10 * params, 50)
    return Result(id_, TrialState.COMPLETED, accuracy, loss, cost, 2, 20, 0, 1.5, 0, curve or (accuracy / 2, accuracy))


def feature_file(
    path: Path, index: CorpusIndex, data: DataConfig, bank: FilterBank | None = None, shares: int = 1
) -> list[Share]:
    """Make a feature file of so many shares, which stay beside it."""
    division, bank = Division.of(index, data, shares), bank or FilterBank()
    made = [features.extract(path.with_name(f"{path.name}-{n}-of-{shares}"), division, bank, n) for n in range(shares)]
    features.assemble(path, division, bank, made)
    return made


def files(root: Path) -> dict[str, str]:
    """Digests of all files below ``root``, by their path."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def write(journal: Journal, event: Trial | Result, elapsed: float) -> None:
    """Append durably."""
    journal.append(event, elapsed)
    journal.commit()


def made_run(
    root: Path,
    trials: int = 12,
    seed: int = 0,
    scores: float = 0.5,
    strategy: str = "incremental",
    class_names: tuple[str, ...] = ("no", "yes"),
) -> RunDir:
    """A complete run with all its files, as a search and an ensemble stage of two members would have left them.

    Trial 1 failed, trial 2 was paused; every tower is its parent's with a block on top, as far as five blocks.
    """
    run, rng = RunDir(root), np.random.default_rng(seed)
    root.mkdir(parents=True)
    config = configuration.load(None, [f"seed={seed}", f"strategy.name={strategy}", f"search.max_trials={trials}"])
    run.config.write_text(configuration.dump(config))
    run.environment.write_text("{}")
    model_card.save(run.model_card, ModelCard(np.zeros(40), np.ones(40), class_names))
    logits = {split: rng.standard_normal((6, len(class_names))).astype(np.float32) for split in ("validation", "test")}
    archive, journal = Archive(), Journal(run.search.journal)
    for id_ in range(trials):
        parent = None if id_ < 3 else int(rng.choice([i for i in range(id_) if i != 1]))
        before = archive.trials[parent].architecture.blocks if parent is not None else ()
        kind = ("dense:units=8", "tdnn:channels=8,dilation=1,kernel=3", "gru:units=4")[rng.integers(3)]
        tower = Architecture((*before[:4], Block.parse(kind)))
        new = Trial(id_, Proposal(tower, parent, "start" if parent is None else "grow", (("dropout", 0.1),)), seed=id_)
        result = completed(id_, min(0.99, scores + 0.02 * id_ + 0.01 * rng.random()), params=100 + 10 * int(rng.integers(20)))
        result = replace(result, seconds=9.0 + rng.random(), inherited=40 if parent is not None else 0)
        if id_ == 1:
            result = unscored(new, TrialState.FAILED, Cost(0, 0, 0), "its loss is not finite [test]")
        if id_ == 2:
            result = replace(result, state=TrialState.PAUSED, epochs=1, steps=10, curve=result.curve[:1])
        for event, elapsed in ((new, 10.0 * id_), (result, 10.0 * id_ + 9.9)):
            journal.append(event, elapsed)
            archive.add(event)
        if result.state.has_score:
            arrays = {"blocks.0.weight": rng.standard_normal((3, 4)).astype(np.float32), "count": np.array(id_)}
            weights.save(run.search.weights(id_), new, arrays, {"validation": logits["validation"]})
    journal.commit()
    archive_file.save(run.archive, archive)
    run.search.complete.touch()
    winner, finals, members = archive.best()[0], Journal(run.ensemble.journal), []
    for member in range(2):
        new = Trial(member, Proposal(winner.architecture, None, "copy"), seed=member)
        finals.append(new, 10.0 * member)
        finals.append(completed(member, 0.8), 10.0 * member + 9.0)
        members.append({split: values + member for split, values in logits.items()})
        weights.save(run.ensemble.weights(member), new, {"classifier.weight": np.ones((2, 3), np.float32)}, members[-1])
    finals.commit()
    mean = {split: (members[0][split] + members[1][split]) / 2 for split in logits}
    labels = {split: np.arange(6) % len(class_names) for split in logits}
    stored = EnsembleFile([Member("ensemble", i, 0.5) for i in range(2)], mean, labels, class_names)
    ensemble_file.save(run.ensemble_file, stored)
    return run
