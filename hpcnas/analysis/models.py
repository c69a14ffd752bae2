"""How good a run's models are on the test split: members, ensemble, student and baseline."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core import metrics, resampling
from hpcnas.core.architecture import Architecture
from hpcnas.core.significance import bootstrap_interval, mcnemar
from hpcnas.core.trial import Cost, Trial, TrialState
from hpcnas.core.units import thousands
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

NAMES = {
    "baseline": "hand-designed baseline",
    "student": "student",
    "control": "student, labels alone",
    "anew": "trained anew",
}
"""What models beside the members are called, by their proposal's role."""


@dataclass(frozen=True)
class ModelRow:
    """Figures of a member, the ensemble or the baseline; shares in [0, 1]."""

    name: str
    params: str
    macs: str
    validation: float
    test: float
    interval: tuple[float, float]
    """Of ``test``: 95 %, bootstrap over examples."""
    p: float
    """McNemar's, of being as often right as the ensemble; NaN for the ensemble itself."""
    macro_f1: float
    eer: float
    towers: tuple[Architecture, ...]
    """Of it, or of each member."""


@dataclass(frozen=True)
class Confusion:
    """Of the ensemble on the test split: (K, K) counts, spoken by recognised."""

    counts: np.ndarray
    class_names: Sequence[str]


def models(run: RunDir) -> tuple[list[ModelRow], Confusion | None]:
    """Members, ensemble and baseline, with the ensemble's confusion matrix; nothing before the ensemble is complete."""
    if not run.ensemble_file.exists():
        return [], None
    ensemble = ensemble_file.load(run.ensemble_file)
    archive = archive_of(run.ensemble.journal)
    archives = {"ensemble": archive, "search": archive_of(run.search.journal)}

    def row(name: str, trained: Sequence[tuple[Trial, Cost]], logits: Mapping[str, np.ndarray]) -> ModelRow:
        test, labels = logits["test"], ensemble.labels["test"]
        is_right, ensemble_is_right = (of.argmax(1) == labels for of in (test, ensemble.logits["test"]))
        return ModelRow(
            name,
            thousands(sum(cost.params for _, cost in trained)),
            thousands(sum(cost.macs for _, cost in trained)),
            validation=metrics.accuracy(logits["validation"], ensemble.labels["validation"]),
            test=metrics.accuracy(test, labels),
            interval=bootstrap_interval(resampling.accuracy, test, labels),
            p=float("nan") if logits is ensemble.logits else mcnemar(is_right, ensemble_is_right),
            macro_f1=metrics.macro_f1(test, labels),
            eer=metrics.eer(test, labels),
            towers=tuple(trial.architecture for trial, _ in trained),
        )

    stages = [(archives[member.stage], member.trial) for member in ensemble.members]
    members = [(of.trials[trial], of.results[trial].cost) for of, trial in stages]
    rows = [row(f"ensemble of {len(members)}", members, ensemble.logits)]
    places = {member.trial: place for place, member in enumerate(ensemble.members) if member.stage == "ensemble"}
    students = archive_of(run.student.journal)
    for stage, trained in ((run.ensemble, archive), (run.student, students)):
        for trial in trained.trials.values():
            result = trained.results.get(trial.id)
            if result is None or result.state is not TrialState.COMPLETED:
                continue  # a finalist or challenger that left the race early is not what it would be
            if trial.proposal.role:
                name = NAMES[trial.proposal.role]
            else:
                name = f"member {places[trial.id]}" if trial.id in places else f"finalist {trial.id}"
            logits = {split: weights.load_logits(stage.weights(trial.id), split) for split in ensemble.logits}
            if any(len(of) != len(ensemble.labels[split]) for split, of in logits.items()):
                print(f"note: {name}: was judged on other recordings than the ensemble; left out", file=sys.stderr)
                continue
            rows.append(row(name, [(trial, result.cost)], logits))
    rows[1:] = sorted(rows[1:], key=lambda row: not row.name.startswith("member"))
    return rows, Confusion(metrics.confusion(ensemble.logits["test"], ensemble.labels["test"]), ensemble.class_names)
