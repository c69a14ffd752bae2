"""Whether the files of a run say what they should: each by itself, and against the journal, which is the truth.

JSON and TOML are parsed; journal lines, weights and ensembles are compared with their checksums; ``archive.h5`` column by
column with the journal, and the ensemble with its members.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import toml

from hpcnas.analysis.snapshot import snapshot
from hpcnas.analysis.trials import Run
from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Trial, TrialState
from hpcnas.store import archive_file, ensemble_file, model_card, weights
from hpcnas.store.journal import Record, archive_of
from hpcnas.store.journal_reader import Scan, scan, unwritten
from hpcnas.store.run_dir import RunDir, Stage


@dataclass(frozen=True)
class Finding:
    """Something about a file that is not as it should be."""

    file: Path
    is_damage: bool
    """What the file should say is lost or wrong; else it is as a kill leaves it, and harmless."""
    what: str
    way_out: str = ""


def verify(run: Run) -> list[Finding]:
    """All findings about a run; none if it is sound. A search may be writing it meanwhile."""
    found = [*_texts(run.dir), *_search(run)]
    for stage in (run.dir.ensemble, run.dir.student):
        if stage.root.exists():
            found += _stage(stage, *_journal(stage, found), keep=None)
    if run.dir.ensemble_file.exists():
        found += _ensemble(run.dir)
    parts = sorted(run.dir.root.rglob(".*.part"))
    return [
        *found,
        *(Finding(p, False, "is being written, or was left by a kill", "remove it if no search runs") for p in parts),
    ]


def repair(run: Run) -> Path:
    """Write ``archive.h5`` anew, the one file that is derived from others; returns its path.

    Raises RunError if the journal is damaged, or a search is writing the run.
    """
    with unwritten(run.dir.search.journal):
        archive_file.save(run.dir.archive, archive_of(run.dir.search.journal))
    return run.dir.archive


def _texts(run: RunDir) -> Iterator[Finding]:
    """Files that need only be read to be known as sound."""
    readers = {
        run.environment: lambda path: json.loads(path.read_text(encoding="utf-8")),
        run.model_card: model_card.load,
        run.ensemble.settings: lambda path: toml.loads(path.read_text(encoding="utf-8")),
        run.student.settings: lambda path: toml.loads(path.read_text(encoding="utf-8")),
    }
    for path, read in readers.items():
        try:
            if path.exists():
                read(path)
        except (RunError, OSError, ValueError, IndexError) as error:
            yield Finding(path, True, f"cannot be read ({error})", "the stage that wrote it writes it again")


def _search(run: Run) -> list[Finding]:
    found: list[Finding] = []
    stage = run.dir.search
    listed, content = _journal(stage, found)
    found += _stage(
        stage, listed, content, keep=run.config.get("search", {}).get("keep_weights", 0), pruned=run.dir.pruned_trials
    )
    if content.damaged:
        return found
    for what, is_damage in snapshot(run.dir.archive, content.records):
        found.append(Finding(run.dir.archive, is_damage, what, archive_file.REBUILD))
    return found


def _journal(stage: Stage, found: list[Finding]) -> tuple[dict[int, Path], Scan]:
    """Weights that there are, and then, so that the journal knows of all of them, what it says."""
    listed = stage.all_weights()
    if not stage.journal.exists():
        if listed:
            found.append(
                Finding(stage.journal, True, "is missing, though there are weights", "restore it: it cannot be rebuilt")
            )
        return listed, Scan([], [], 0)
    content = scan(stage.journal)
    for line in content.damaged:
        found.append(Finding(stage.journal, True, line.partition(", ")[2], "its event is lost"))
    if content.torn and stage.complete.exists():
        what = f"{content.torn} bytes behind the last whole line, though the stage is complete"
        found.append(Finding(stage.journal, True, what, "its last event is lost"))
    elif content.torn:
        what = f"{content.torn} bytes behind the last whole line: being written, or cut off"
        found.append(Finding(stage.journal, False, what, "nothing to do: a resume removes them"))
    found += _sequence(stage, content.records)
    return listed, content


def _sequence(stage: Stage, records: Sequence[Record]) -> Iterator[Finding]:
    """Whether the events can have happened in this order."""
    known: set[int] = set()
    latest = 0.0
    for record in records:
        event = record.event
        if record.elapsed < latest - 0.01:
            yield Finding(stage.journal, True, f"goes back in time, from {latest:.2f} to {record.elapsed:.2f} s", "restore it")
        latest = max(latest, record.elapsed)
        if isinstance(event, Trial):
            known.add(event.id)
        elif event.trial not in known:
            yield Finding(stage.journal, True, f"a result of trial {event.trial}, which was never handed out", "restore it")


def _parents(stage: Stage, records: Sequence[Record]) -> Iterator[Finding]:
    """Whether all that trials refer to was there before them."""
    known: set[int] = set()
    for trial in (record.event for record in records if isinstance(record.event, Trial)):
        for id_ in sorted({trial.proposal.parent, *trial.proposal.team} - known - {None}):
            what = f"trial {trial.id} comes from trial {id_}, which was never handed out"
            yield Finding(stage.journal, True, what, "restore it")
        known.add(trial.id)


def _stage(
    stage: Stage, listed: dict[int, Path], content: Scan, keep: int | None, pruned: frozenset[int] = frozenset()
) -> Iterator[Finding]:
    """Weights and checkpoints against the journal. ``keep``: weights of so many best trials must be there; None: of all."""
    archive = _archive(content.records)
    unsealed = 0
    for id_, path in listed.items():
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
            if not content.damaged:
                yield Finding(
                    path, True, "weights of a trial that the journal does not know", "remove it, or restore the journal"
                )
        elif label.architecture != str(archive.trials[id_].architecture):
            yield Finding(path, True, f"is of {label.architecture}, not of what the journal says", "remove it, or restore it")
        elif id_ not in archive.results:
            yield Finding(path, False, "weights without a result: the trial runs, or was cut off", "a resume runs it again")
    if unsealed:
        what = f"{unsealed} files were written before there were checksums: only their structure was checked"
        yield Finding(stage.root, False, what)
    for id_ in _missing(stage, archive, keep, pruned):
        yield Finding(stage.weights(id_), True, f"weights of trial {id_} are missing, which are kept", "lost: restore the file")
    for path in sorted((stage.root / "checkpoints").glob("*.pt")):
        yield from _checkpoint(path, archive)
    if stage.complete.exists() and archive.running and not content.damaged:
        running = ", ".join(str(trial.id) for trial in archive.running[:5])
        yield Finding(stage.complete, True, f"says complete, but trials have no result: {running}", "remove it, and resume")


def _archive(records: Sequence[Record]) -> Archive:
    """Of events whose trial is known; the others are reported already."""
    archive = Archive()
    for record in records:
        if isinstance(record.event, Trial) or record.event.trial in archive.trials:
            archive.add(record.event)
    return archive


def _missing(stage: Stage, archive: Archive, keep: int | None, pruned: frozenset[int]) -> list[int]:
    wanted = [result.trial for result in archive.ranking[:keep]]
    missing = [id_ for id_ in wanted if id_ not in pruned and not stage.weights(id_).exists()]
    if missing and not stage.complete.exists():  # others may be better meanwhile: is it still wanted?
        now = [result.trial for result in _archive(scan(stage.journal).records).ranking[:keep]]
        missing = [id_ for id_ in missing if id_ in now and not stage.weights(id_).exists()]
    return missing


def _checkpoint(path: Path, archive: Archive) -> Iterator[Finding]:
    result = archive.results.get(int(path.stem)) if path.stem.isdigit() else None
    if result is not None and result.state is not TrialState.PAUSED:
        yield Finding(path, False, "of a trial that has a result", "remove it")
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except FileNotFoundError:
        return
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        bad = str(error)
    if bad:
        yield Finding(path, True, f"cannot be read as a checkpoint ({bad})", "remove it, and the trial begins anew")


def _ensemble(run: RunDir) -> Iterator[Finding]:
    """The file by itself, and whether it is the weighted mean of its members."""
    try:
        ensemble = ensemble_file.load(run.ensemble_file)
    except RunError as error:
        what = str(error).removeprefix(f"{run.ensemble_file}: ").removesuffix(f"; {ensemble_file.AGAIN}")
        yield Finding(run.ensemble_file, True, what, ensemble_file.AGAIN)
        return
    paths = [run.stage(member.stage).weights(member.trial) for member in ensemble.members]
    if missing := [path for path in paths if not path.exists()]:
        yield Finding(run.ensemble_file, True, f"its member {missing[0].name} is missing", "restore it")
        return
    for split, logits in ensemble.logits.items():
        try:
            if any(split not in weights.splits(path) for path in paths):
                continue
            mean = sum(m.weight * weights.load_logits(path, split) for m, path in zip(ensemble.members, paths))
        except RunError:
            continue  # reported already
        if mean.shape != logits.shape or not np.allclose(mean, logits, rtol=1e-3, atol=1e-3):
            yield Finding(run.ensemble_file, True, f"its {split} logits are not the mean of its members'", ensemble_file.AGAIN)
