"""Which weights and checkpoints of a run can go to save space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.pareto import pareto_front
from hpcnas.core.trial import TrialState
from hpcnas.store import ensemble_file
from hpcnas.store.files import replacing
from hpcnas.store.journal_reader import unwritten


@dataclass(frozen=True)
class TrialFile:
    """A file that a trial left and why it stays; ``reason`` is empty for one that goes."""

    trial: int
    what: str
    """``weights``, or ``checkpoint``: all that a trial which was cut off goes on from, larger than its weights."""
    path: Path
    size: int
    """In bytes."""
    score: float
    reason: str


def plan(run: ConfiguredRun, keep: int) -> list[TrialFile]:
    """Every file of the search's weights and checkpoints. Trials whose weights go could neither be parents nor predict any
    more; a checkpoint goes unless its trial may go on.

    Raises RunError if the journal is damaged, or the ensemble's file, which says which weights it needs.
    """
    archive, search = run.archive(), run.dir.search
    of_weights, of_checkpoints = _reasons(run, archive, keep), _going_on(run, archive)
    unknown = search.all_checkpoints().keys() - archive.trials.keys()
    of_checkpoints |= dict.fromkeys(unknown, "of a trial that the journal does not know")
    files = (("weights", search.all_weights(), of_weights), ("checkpoint", search.all_checkpoints(), of_checkpoints))
    return [
        TrialFile(id_, what, path, path.stat().st_size, _score(archive, id_), reasons.get(id_, ""))
        for what, paths, reasons in files
        for id_, path in paths.items()
    ]


def prune(run: ConfiguredRun, keep: int) -> Sequence[TrialFile]:
    """Remove what ``plan`` says goes, and write down of which trials that were the weights; returns all that went.

    Raises RunError while a search is writing the run.
    """
    with unwritten(run.dir.search.journal):
        going = [one for one in plan(run, keep) if not one.reason]
        given_up = run.dir.pruned_trials | {one.trial for one in going if one.what == "weights"}
        with replacing(run.dir.pruned) as part:
            part.write_text("".join(f"{trial}\n" for trial in sorted(given_up)))
        for one in going:
            one.path.unlink()
    return going


def _score(archive: Archive, id_: int) -> float:
    return archive.results[id_].score if id_ in archive.results else float("nan")


def _going_on(run: ConfiguredRun, archive: Archive) -> dict[int, str]:
    """Trials that a search would go on with, and why; none when it is complete."""
    if run.dir.search.complete.exists():
        return {}
    paused = {id_: "paused, may go on" for id_, result in archive.results.items() if result.state is TrialState.PAUSED}
    return paused | {trial.id: "of a running trial" for trial in archive.running}


def _reasons(run: ConfiguredRun, archive: Archive, keep: int) -> dict[int, str]:
    reasons: dict[int, str] = {}

    def stay(trials: Sequence[int], reason: str) -> None:
        for trial in trials:
            reasons.setdefault(trial, reason)

    stay([result.trial for result in archive.ranking[:keep]], f"one of the best {keep}")
    stay([result.trial for result in pareto_front(archive.ranking)], "on the Pareto front")
    if run.dir.ensemble_file.exists():
        members = ensemble_file.load(run.dir.ensemble_file).members
        stay([member.trial for member in members if member.stage == "search"], "in the ensemble")
    for id_, reason in _going_on(run, archive).items():
        stay([id_], reason)
    if not run.dir.search.complete.exists():
        stay([t.proposal.parent for t in archive.running if t.proposal.parent is not None], "parent of a running trial")
    for id_ in list(reasons):
        stay(archive.trials[id_].proposal.team, "in the team of one that stays")
    unknown = sorted(run.dir.search.all_weights().keys() - archive.trials.keys())
    if unknown:
        raise RunError(f"{run.dir.search.weights(unknown[0])}: of a trial that the journal does not know; see tools/verify.py")
    return reasons
