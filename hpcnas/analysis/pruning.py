"""Which weights of a run can go to save space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcnas.analysis.trials import Run
from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.pareto import pareto_front
from hpcnas.core.trial import TrialState
from hpcnas.store import ensemble_file
from hpcnas.store.files import replacing
from hpcnas.store.journal_reader import unwritten


@dataclass(frozen=True)
class Weights:
    """A file of weights and why it stays; ``reason`` is empty for one that goes."""

    trial: int
    path: Path
    score: float
    reason: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


def plan(run: Run, keep: int) -> list[Weights]:
    """Every file of the search's weights; those that go could neither be parents nor predict any more.

    Raises RunError if the journal is damaged, or the ensemble's file, which says which weights it needs.
    """
    archive = run.archive()
    reasons = _reasons(run, archive, keep)
    return [
        Weights(id_, path, archive.results[id_].score if id_ in archive.results else float("nan"), reasons.get(id_, ""))
        for id_, path in run.dir.search.all_weights().items()
    ]


def prune(run: Run, keep: int) -> Sequence[Weights]:
    """Remove what ``plan`` says goes, and write down which trials that were; returns them.

    Raises RunError while a search is writing the run.
    """
    with unwritten(run.dir.search.journal):
        going = [one for one in plan(run, keep) if not one.reason]
        given_up = run.dir.pruned_trials | {one.trial for one in going}
        with replacing(run.dir.pruned) as part:
            part.write_text("".join(f"{trial}\n" for trial in sorted(given_up)))
        for one in going:
            one.path.unlink()
    return going


def _reasons(run: Run, archive: Archive, keep: int) -> dict[int, str]:
    reasons: dict[int, str] = {}

    def stay(trials: Sequence[int], reason: str) -> None:
        for trial in trials:
            reasons.setdefault(trial, reason)

    stay([result.trial for result in archive.ranking[:keep]], f"one of the best {keep}")
    stay([result.trial for result in pareto_front(archive.ranking)], "on the Pareto front")
    if run.dir.ensemble_file.exists():
        members = ensemble_file.load(run.dir.ensemble_file).members
        stay([member.trial for member in members if member.stage == "search"], "in the ensemble")
    if not run.dir.search.complete.exists():
        stay([i for i, result in archive.results.items() if result.state is TrialState.PAUSED], "paused, may go on")
        for trial in archive.running:
            stay(
                [trial.id, *([] if trial.proposal.parent is None else [trial.proposal.parent])],
                "of a running trial or its parent",
            )
    for id_ in list(reasons):
        stay(archive.trials[id_].proposal.team, "in the team of one that stays")
    unknown = sorted(run.dir.search.all_weights().keys() - archive.trials.keys())
    if unknown:
        raise RunError(f"{run.dir.search.weights(unknown[0])}: of a trial that the journal does not know; see tools/verify.py")
    return reasons
