"""Several runs' trials, results and weights as one new run, which a search goes on from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpcnas.analysis.comparison import flat
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.corpus_identity import changes
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Result, Trial
from hpcnas.store import archive_file, corpus_file, model_card, weights
from hpcnas.store.files import replacing
from hpcnas.store.journal import Record, spell
from hpcnas.store.run_dir import RunDir

TABLES = ("data", "features", "augmentation", "training")
KEYS = ("search.objective", "space.tail", "space.head", "space.causal")
"""What decides what a score and a weights file mean: it must be equal. Strategies, seeds, limits and block sets may differ."""
PLACES = ("data.cache",)


@dataclass(frozen=True)
class Merged:
    """What became of one of the runs.

    Args:
        first: new number of its first trial; the others follow in their order.
        unfinished: trials without a result, which were left out.
        weights: files that were taken over.
    """

    run: str
    trials: int
    first: int
    unfinished: int
    weights: int


def merge(runs: Sequence[ConfiguredRun], out: Path) -> list[Merged]:
    """Write the new run; trials are numbered anew, search times add up.

    Raises RunError if the runs do not belong together, one of them is damaged, or ``out`` exists.
    """
    if out.exists():
        raise RunError(f"{out}: exists already; name a new folder")
    _check(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        rows = _write(runs, RunDir(part))
        part.chmod(0o755)
        part.rename(out)
    except BaseException:
        shutil.rmtree(part)
        raise
    return rows


def _check(runs: Sequence[ConfiguredRun]) -> None:
    first = runs[0]
    card = model_card.load(first.dir.model_card)
    for run in runs[1:]:
        before, now = flat(first.config), flat(run.config)
        for key in sorted({*before, *now} - set(PLACES)):
            if (key.partition(".")[0] in TABLES or key in KEYS) and before.get(key) != now.get(key):
                raise RunError(
                    f"{run.dir.root}: {key} = {now.get(key)!r}, but {before.get(key)!r} in {first.dir.root}; "
                    "scores and weights of the two do not mean the same"
                )
        other = model_card.load(run.dir.model_card)
        if other.class_names != card.class_names or not np.allclose(other.mean, card.mean, atol=1e-3):
            raise RunError(
                f"{run.dir.root}: other classes or another normalisation than {first.dir.root}; was the data the same?"
            )
        if found := _other_data(first, run):
            raise RunError(f"{run.dir.root}: other data than {first.dir.root}: {'; '.join(found)}")


def _other_data(first: ConfiguredRun, other: ConfiguredRun) -> list[str]:
    """How the recordings of two runs differ, but for what their seeds drew; nothing where one of them does not know."""
    paths = [run.dir.search.corpus for run in (first, other)]
    if not all(path.exists() for path in paths):
        return []
    return [change.what for change in changes(*map(corpus_file.load, paths)) if not change.is_draw]


def _write(runs: Sequence[ConfiguredRun], out: RunDir) -> list[Merged]:
    for source, target in (
        (runs[0].dir.config, out.config),
        (runs[0].dir.environment, out.environment),
        (runs[0].dir.model_card, out.model_card),
    ):
        shutil.copyfile(source, target)
    if runs[0].dir.search.corpus.exists():  # early runs do not know their recordings
        shutil.copyfile(runs[0].dir.search.corpus, out.search.corpus)
    records: list[Record] = []
    rows, first, start_s = [], 0, 0.0
    for run in runs:
        own = run.records()
        archive = Archive(record.event for record in own)
        new = {id_: first + place for place, id_ in enumerate(sorted(archive.results))}
        records += [
            Record(start_s + record.elapsed, _renumbered(record.event, new))
            for record in own
            if (record.event.trial if isinstance(record.event, Result) else record.event.id) in new
        ]
        copied = [id_ for id_ in new if run.dir.search.weights(id_).exists()]
        for id_ in copied:
            _copy(run.dir.search.weights(id_), out.search.weights(new[id_]), _trial_renumbered(archive.trials[id_], new))
        rows.append(Merged(run.name, len(new), first, len(archive.trials) - len(new), len(copied)))
        first += len(new)
        start_s += own[-1].elapsed
    with replacing(out.search.journal) as part:
        part.write_bytes(b"".join(map(spell, records)))
    archive_file.save(out.archive, Archive(record.event for record in records))
    return rows


def _renumbered(event: Trial | Result, new: dict[int, int]) -> Trial | Result:
    return replace(event, trial=new[event.trial]) if isinstance(event, Result) else _trial_renumbered(event, new)


def _trial_renumbered(trial: Trial, new: dict[int, int]) -> Trial:
    parent, team = trial.proposal.parent, tuple(new[mate] for mate in trial.proposal.team)
    proposal = replace(trial.proposal, parent=None if parent is None else new[parent], team=team)
    return replace(trial, id=new[trial.id], proposal=proposal)


def _copy(source: Path, target: Path, trial: Trial) -> None:
    logits = {split: weights.load_logits(source, split) for split in weights.splits(source)}
    weights.save(target, trial, weights.load_arrays(source), logits)
