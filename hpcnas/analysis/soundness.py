"""Whether the files of a run say what they should: each by itself, and against the journal, which is the truth.

JSON and TOML are parsed; journal lines, weights and ensembles are compared with their checksums; ``archive.h5`` column by
column with the journal, and the ensemble with its members. ``CHECKS`` lists all that is looked at, ``stage_checks`` what is in
each stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpcnas.analysis import stage_checks
from hpcnas.analysis.snapshot import snapshot
from hpcnas.analysis.stage_checks import Finding, files_of
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.errors import RunError
from hpcnas.store import (
    archive_file,
    corpus_file,
    ensemble_file,
    model_card,
    origins_file,
    running_file,
    toml_file,
    weights,
)
from hpcnas.store.journal import archive_of
from hpcnas.store.journal_reader import unwritten

__all__ = ["CHECKS", "Finding", "repair", "verify"]


def verify(run: ConfiguredRun) -> list[Finding]:
    """All findings about a run; none if it is sound. A search may be writing it meanwhile."""
    return [finding for check in CHECKS for finding in check(run)]


def repair(run: ConfiguredRun) -> Path:
    """Write ``archive.h5`` anew, the one file that is derived from others; returns its path.

    Raises RunError if the journal is damaged, or a search is writing the run.
    """
    with unwritten(run.dir.search.journal):
        archive_file.save(run.dir.archive, archive_of(run.dir.search.journal))
    return run.dir.archive


def texts(run: ConfiguredRun) -> Iterator[Finding]:
    """Files that need only be read to be known as sound."""
    readers = {
        run.dir.environment: lambda path: json.loads(path.read_text(encoding="utf-8")),
        run.dir.model_card: model_card.load,
        **{stage.corpus: corpus_file.load for stage in run.dir.stages},
        **{stage.running: running_file.load for stage in run.dir.stages},
        **{stage.settings: toml_file.load for stage in run.dir.stages},
        run.dir.standings: lambda path: json.loads(path.read_text(encoding="utf-8")),
    }
    for path, read in readers.items():
        try:
            if path.exists():
                read(path)
        except (RunError, OSError, ValueError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            yield Finding(path, True, f"cannot be read ({reason})", "the stage that wrote it writes it again")


def stages(run: ConfiguredRun) -> Iterator[Finding]:
    """The search, and ``archive.h5`` against its journal; the stages behind it, whose parents are the search's trials."""
    keep = run.config.get("search", {}).get("keep_weights", 0)
    search = files_of(run.dir.search, keep, run.dir.pruned_trials)
    yield from stage_checks.check(search)
    if not search.content.damaged:
        for what, is_damage in snapshot(run.dir.archive, search.content.records):
            yield Finding(run.dir.archive, is_damage, what, archive_file.REBUILD)
    for stage in run.dir.stages[1:]:
        if stage.root.exists():
            yield from stage_checks.check(files_of(stage, elders=frozenset(search.archive.trials)))


def ensemble(run: ConfiguredRun) -> Iterator[Finding]:
    """The file by itself, and whether it is the weighted mean of its members."""
    path = run.dir.ensemble_file
    if not path.exists():
        return
    try:
        stored = ensemble_file.load(path)
    except RunError as error:
        what = str(error).removeprefix(f"{path}: ").removesuffix(f"; {ensemble_file.AGAIN}")
        yield Finding(path, True, what, ensemble_file.AGAIN)
        return
    members = [run.dir.stage(member.stage).weights(member.trial) for member in stored.members]
    if missing := [member for member in members if not member.exists()]:
        yield Finding(path, True, f"its member {missing[0].name} is missing", "restore it")
        return
    for split, logits in stored.logits.items():
        try:
            if any(split not in weights.splits(member) for member in members):
                continue
            of_members = [weights.load_logits(member, split) for member in members]
        except RunError:
            continue  # reported already
        pairs = list(zip(stored.members, of_members))
        if any(member.stage == "search" and len(of) < len(logits) for member, of in pairs):
            continue  # a search may score by a part of the split (search.score_examples)
        mean = np.asarray(sum(member.weight * of for member, of in pairs))
        if mean.shape != logits.shape or not np.allclose(mean, logits, rtol=1e-3, atol=1e-3):
            yield Finding(path, True, f"its {split} logits are not the mean of its members'", ensemble_file.AGAIN)


def unfinished(run: ConfiguredRun) -> Iterator[Finding]:
    """What a kill leaves of files that were being written."""
    for part in sorted(run.dir.root.rglob(".*.part")):
        yield Finding(part, False, "is being written, or was left by a kill", "remove it if no search runs")


def donors(run: ConfiguredRun) -> Iterator[Finding]:
    """What stages began with of other runs: all that their trials start from is there and whole."""
    for stage in run.dir.stages:
        if not stage.origins.exists():
            continue
        try:
            models = origins_file.load(stage.origins).models
            for number in (number for number, model in enumerate(models) if model.has_weights):
                weights.check(stage.donor(number))
        except RunError as error:
            yield Finding(stage.origins, True, str(error), "restore it: only trials that have not begun need it")


CHECKS = (texts, stages, ensemble, donors, unfinished)
