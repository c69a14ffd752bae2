"""The trials of a run as columns, from whichever file is quicker and up to date."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.core.trial import Result, TrialState
from hpcnas.store import archive_file, toml_file
from hpcnas.store.archive_file import COLUMNS
from hpcnas.store.journal import Record, replay
from hpcnas.store.journal_reader import check, last
from hpcnas.store.run_dir import RunDir

Columns = Mapping[str, np.ndarray]
"""(N,) arrays by name, one row a trial in the order of their numbers: those of ``archive.h5``."""
SCORED = tuple(state.value for state in TrialState if state.has_score)


@dataclass(frozen=True)
class ConfiguredRun:
    """A run directory with what its configuration says."""

    dir: RunDir
    config: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> ConfiguredRun:
        """Raises RunError if there is no run, or its configuration cannot be read."""
        run = RunDir(path)
        run.require()
        try:
            return cls(run, toml_file.load(run.config))
        except ConfigError as error:
            raise RunError(f"{error}; every run needs its configuration") from error

    @cached_property
    def name(self) -> str:
        return self.dir.root.resolve().name

    @property
    def ranked_by(self) -> str:
        """What trials are ranked by, in words, if it is a loss; else the loss that is told beside the score."""
        return str(self.config.get("search", {}).get("rank_by", "loss")).replace("objective", "loss").replace("_", " ")

    @property
    def objective(self) -> str:
        return self.config.get("search", {}).get("objective", "accuracy")

    def part(self, table: str) -> str:
        """Name of the strategy, the inheritance and so on."""
        return str(self.config.get(table, {}).get("name", ""))

    def records(self) -> list[Record]:
        """All events, from the journal; raises RunError if it is damaged or has none."""
        records = replay(self.dir.search.journal)
        if not records:
            raise RunError(f"{self.dir.root}: has no trials yet")
        return records

    def archive(self) -> Archive:
        """All trials and results, from the journal."""
        return Archive(record.event for record in self.records())

    def columns(self, names: Sequence[str] = tuple(COLUMNS)) -> Columns:
        """From ``archive.h5`` if it knows the journal's newest event, else from the journal, which takes longer.

        A damaged ``archive.h5`` is said on standard error and the journal read, which has all that it has. Raises RunError for
        a damaged line of the journal, as all who read it do, though what it said may be in ``archive.h5``.
        """
        check(self.dir.search.journal)
        newest = last(self.dir.search.journal)
        if newest is None:
            raise RunError(f"{self.dir.root}: has no trials yet")
        if self.dir.archive.exists():
            try:
                columns = archive_file.load(self.dir.archive, tuple({*names, *NEEDED}))
                if knows(columns, newest) and not is_early(columns):
                    return {name: columns[name] for name in names}
            except RunError as error:
                print(f"note: {error}; reading the journal instead", file=sys.stderr)
        return archive_file.columns(self.archive(), names)


NEEDED = ("id", "state", "attempt", "epochs", "steps", "merit")


def knows(columns: Columns, newest: Record) -> bool:
    """Whether a snapshot has an event of its journal. As events are recorded in order, it then has all before it too."""
    event = newest.event
    id_ = event.trial if isinstance(event, Result) else event.id
    row = int(np.searchsorted(columns["id"], id_))
    if row == len(columns["id"]) or columns["id"][row] != id_:
        return False
    if isinstance(event, Result):
        figures = (columns[name][row] for name in ("state", "epochs", "steps"))
        return tuple(figures) == (event.state.value, event.epochs, event.steps)
    return columns["attempt"][row] == event.attempt and columns["state"][row] == archive_file.RUNNING


def is_early(columns: Columns) -> bool:
    """Whether a snapshot does not tell what its trials were ranked by, as its journal does."""
    is_untold = np.isnan(columns["merit"])
    return bool(is_untold.any() and np.isin(columns["state"][is_untold].astype(str), SCORED).any())


def has_score(columns: Columns) -> np.ndarray:
    """(N,) bool: trials whose score counts."""
    return np.isin(columns["state"].astype(str), SCORED) & np.isfinite(columns["score"]) & np.isfinite(columns["loss"])


def ranking(columns: Columns) -> np.ndarray:
    """Rows of trials that have a score, best first: as ``Archive.ranking``."""
    rows = np.flatnonzero(has_score(columns))
    return rows[np.lexsort((columns["id"][rows], columns["loss"][rows], -columns["merit"][rows]))]


def front(columns: Columns) -> np.ndarray:
    """Rows of trials that no other one beats in score at the same or fewer parameters, smallest first."""
    rows = np.flatnonzero(has_score(columns))
    rows = rows[np.lexsort((columns["id"][rows], -columns["score"][rows], columns["params"][rows]))]
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], columns["score"][rows]]))[:-1]
    return rows[columns["score"][rows] > best_before]
