"""Whether the files of one stage say what they should: its journal's events in their order, weights and checkpoints against
them. Each check is a function that stands in one of two tables; whoever adds one adds it there, and a fault that it finds to
the tests.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.trial import NOT_FINITE, Result, Trial, TrialState
from hpcnas.store import weights
from hpcnas.store.journal_reader import Scan, scan
from hpcnas.store.run_dir import Stage


@dataclass(frozen=True)
class Finding:
    """Something about a file that is not as it should be."""

    file: Path
    is_damage: bool
    """What the file should say is lost or wrong; else it is as a kill leaves it, and harmless."""
    what: str
    way_out: str = ""


@dataclass(frozen=True)
class StageFiles:
    """What is looked at.

    Args:
        listed: weights that there were before the journal was read, so that it knows of all of them.
        archive: of those of its events whose trial is known.
        keep: weights of so many best trials must be there; None: of all.
        pruned: trials whose weights a user gave up.
        elders: trials that came before all of this stage and that parents may be; None: parents are of the stage itself.
    """

    stage: Stage
    listed: dict[int, Path]
    content: Scan
    archive: Archive
    keep: int | None = None
    pruned: frozenset[int] = frozenset()
    elders: frozenset[int] | None = None


def files_of(
    stage: Stage, keep: int | None = None, pruned: frozenset[int] = frozenset(), elders: frozenset[int] | None = None
) -> StageFiles:
    listed = stage.all_weights()
    content = scan(stage.journal) if stage.journal.exists() else Scan([], [], 0)
    return StageFiles(stage, listed, content, _archive(content), keep, pruned, elders)


def check(files: StageFiles) -> Iterator[Finding]:
    """All findings about a stage."""
    for one in (*OF_JOURNAL, *OF_FILES):
        yield from one(files)


def lines_of_the_journal(files: StageFiles) -> Iterator[Finding]:
    """Whether the journal is there and whole."""
    journal, content = files.stage.journal, files.content
    if files.listed and not journal.exists():
        yield Finding(journal, True, "is missing, though there are weights", "restore it: it cannot be rebuilt")
    for line in content.damaged:
        yield Finding(journal, True, line.partition(", ")[2], "its event is lost")
    if content.torn and files.stage.complete.exists():
        what = f"{content.torn} bytes behind the last whole line, though the stage is complete"
        yield Finding(journal, True, what, "its last event is lost")
    elif content.torn:
        what = f"{content.torn} bytes behind the last whole line: being written, or cut off"
        yield Finding(journal, False, what, "nothing to do: a resume removes them")


def order_of_time(files: StageFiles) -> Iterator[Finding]:
    latest = 0.0
    for record in files.content.records:
        if record.elapsed < latest - 0.01:
            what = f"goes back in time, from {latest:.2f} to {record.elapsed:.2f} s"
            yield Finding(files.stage.journal, True, what, "restore it")
        latest = max(latest, record.elapsed)


def trials_of_results(files: StageFiles) -> Iterator[Finding]:
    known: set[int] = set()
    for event in (record.event for record in files.content.records):
        if isinstance(event, Trial):
            known.add(event.id)
        elif event.trial not in known:
            what = f"a result of trial {event.trial}, which was never handed out"
            yield Finding(files.stage.journal, True, what, "restore it")


def origins_of_trials(files: StageFiles) -> Iterator[Finding]:
    """Whether all that trials refer to was there before them."""
    if files.content.damaged:  # which is where it may have stood
        return
    known: set[int] = set()
    for trial in (record.event for record in files.content.records if isinstance(record.event, Trial)):
        elders = known if files.elders is None else files.elders
        parent = set[int]() if trial.proposal.parent is None else {trial.proposal.parent}
        for id_ in sorted((parent - elders) | (set(trial.proposal.team) - known)):
            what = f"trial {trial.id} comes from trial {id_}, which was never handed out"
            yield Finding(files.stage.journal, True, what, "restore it")
        known.add(trial.id)


def scores_of_results(files: StageFiles) -> Iterator[Finding]:
    for event in (record.event for record in files.content.records):
        if isinstance(event, Result) and event.error == NOT_FINITE:
            what = f"trial {event.trial} has a score or a loss that is not finite"
            yield Finding(files.stage.journal, True, what, "it counts as failed: nothing to do")


def seals_of_weights(files: StageFiles) -> Iterator[Finding]:
    """Whether every file of weights is whole and finite, and of the trial that its name and the journal say."""
    archive, unsealed = files.archive, 0
    for id_, path in files.listed.items():
        try:
            label = weights.check(path)
        except RunError as error:
            if path.exists():  # else it was removed just now
                what = str(error).removeprefix(f"{path}: ")
                yield Finding(path, True, what, "lost: train the trial again, or remove the file")
            continue
        unsealed += not label.is_sealed
        if label.trial != id_:
            yield Finding(path, True, f"has the weights of trial {label.trial}", "give it the name of its trial")
        elif id_ not in archive.trials:
            if not files.content.damaged:
                yield Finding(
                    path, True, "weights of a trial that the journal does not know", "remove it, or restore the journal"
                )
        elif label.architecture != str(archive.trials[id_].architecture):
            yield Finding(path, True, f"is of {label.architecture}, not of what the journal says", "remove it, or restore it")
        elif id_ not in archive.results:
            yield Finding(path, False, "weights without a result: the trial runs, or was cut off", "a resume runs it again")
    if unsealed:
        what = f"{unsealed} files were written before there were checksums: only their structure was checked"
        yield Finding(files.stage.root, False, what)


def weights_that_are_kept(files: StageFiles) -> Iterator[Finding]:
    stage = files.stage
    wanted = [result.trial for result in files.archive.ranking[: files.keep]]
    missing = [id_ for id_ in wanted if id_ not in files.pruned and not stage.weights(id_).exists()]
    if missing and not stage.complete.exists():  # others may be better meanwhile: is it still wanted?
        now = [result.trial for result in _archive(scan(stage.journal)).ranking[: files.keep]]
        missing = [id_ for id_ in missing if id_ in now and not stage.weights(id_).exists()]
    for id_ in missing:
        yield Finding(stage.weights(id_), True, f"weights of trial {id_} are missing, which are kept", "lost: restore the file")


def checkpoints(files: StageFiles) -> Iterator[Finding]:
    for path in sorted((files.stage.root / "checkpoints").glob("*.pt")):
        result = files.archive.results.get(int(path.stem)) if path.stem.isdigit() else None
        if result is not None and result.state is not TrialState.PAUSED:
            yield Finding(path, False, "of a trial that has a result", "remove it")
        try:
            with zipfile.ZipFile(path) as file:
                bad = file.testzip()
        except FileNotFoundError:
            continue
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            bad = str(error)
        if bad:
            yield Finding(path, True, f"cannot be read as a checkpoint ({bad})", "remove it, and the trial begins anew")


def mark_of_completeness(files: StageFiles) -> Iterator[Finding]:
    if files.stage.complete.exists() and files.archive.running and not files.content.damaged:
        running = ", ".join(str(trial.id) for trial in files.archive.running[:5])
        what = f"says complete, but trials have no result: {running}"
        yield Finding(files.stage.complete, True, what, "remove it, and resume")


OF_JOURNAL = (lines_of_the_journal, order_of_time, trials_of_results, origins_of_trials, scores_of_results)
OF_FILES = (seals_of_weights, weights_that_are_kept, checkpoints, mark_of_completeness)


def _archive(content: Scan) -> Archive:
    """Of events whose trial is known; the others are reported already."""
    archive = Archive()
    for event in (record.event for record in content.records):
        if isinstance(event, Trial) or event.trial in archive.trials:
            archive.add(event)
    return archive
