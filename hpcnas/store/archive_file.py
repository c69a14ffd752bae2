"""``archive.h5``: a snapshot of the archive for analysis, replaced whole; the journal is the truth.

Group ``trials`` holds one-dimensional datasets of equal length, one row a trial: open them as columns of a data frame.
``docs/archive.md`` is its description for readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Result, Trial
from hpcnas.store.sealed import reading, writing

FORMAT = 1
RUNNING = "running"
"""State of a trial without a result."""


@dataclass(frozen=True)
class Column:
    """A dataset below ``trials``.

    Args:
        kind: ``int``, ``float`` or ``str``; stored as 64-bit integers and floats, and as UTF-8 strings of variable length.
        of: its value for a trial and its result.
        without: its value for a trial that has no result; none for columns that do not need one.
    """

    kind: type
    of: Callable[[Trial, Any], Any]
    without: Any = None
    unit: str = ""

    def values(self, rows: Sequence[tuple[Trial, Result | None]]) -> np.ndarray:
        """(N,) of this column; texts as an array of ``str`` objects."""
        missing, of = self.without, self.of
        values = [of(t, r) if r is not None or missing is None else missing for t, r in rows]
        return np.array(values, dtype=object if self.kind is str else self.kind)

    def empty(self, rows: int) -> np.ndarray:
        """(N,) of a file that was written before there was such a column."""
        nothing = {int: -1, float: np.nan, str: ""}[self.kind]
        return np.full(rows, nothing, dtype=object if self.kind is str else self.kind)


COLUMNS: Mapping[str, Column] = {
    "id": Column(int, lambda t, r: t.id),
    "parent": Column(int, lambda t, r: -1 if t.proposal.parent is None else t.proposal.parent),
    "mutation": Column(str, lambda t, r: t.proposal.mutation),
    "architecture": Column(str, lambda t, r: str(t.architecture)),
    "depth": Column(int, lambda t, r: t.architecture.depth),
    "seed": Column(int, lambda t, r: t.seed),
    "attempt": Column(int, lambda t, r: t.attempt),
    "settings": Column(str, lambda t, r: " ".join(f"{name}={value:.4g}" for name, value in t.proposal.settings)),
    "team": Column(str, lambda t, r: " ".join(map(str, t.proposal.team))),
    "state": Column(str, lambda t, r: r.state.value, RUNNING),
    "error": Column(str, lambda t, r: r.error, ""),
    "params": Column(int, lambda t, r: r.cost.params, -1),
    "macs": Column(int, lambda t, r: r.cost.macs, -1, "multiply-accumulates per example"),
    "activations": Column(int, lambda t, r: r.cost.activations, -1),
    "latency_ms": Column(float, lambda t, r: r.cost.latency_ms or np.nan, np.nan, "ms"),
    "flash_kb": Column(float, lambda t, r: r.cost.flash_kb or np.nan, np.nan, "1024 bytes"),
    "arena_kb": Column(float, lambda t, r: r.cost.arena_kb or np.nan, np.nan, "1024 bytes"),
    "device_ms": Column(float, lambda t, r: r.cost.device_ms or np.nan, np.nan, "ms"),
    "score": Column(float, lambda t, r: r.score, np.nan),
    "loss": Column(float, lambda t, r: r.loss, np.nan, "nat"),
    "merit": Column(float, lambda t, r: r.merit, np.nan),
    "seconds": Column(float, lambda t, r: r.seconds, np.nan, "s"),
    "epochs": Column(int, lambda t, r: r.epochs, -1),
    "steps": Column(int, lambda t, r: r.steps, -1, "optimiser steps"),
    "inherited": Column(int, lambda t, r: r.inherited, -1),
    "group": Column(int, lambda t, r: r.group, -1),
}
REBUILD = "tools/verify.py --repair writes it anew from the journal"
LATER = ("settings", "team", "latency_ms", "flash_kb", "arena_kb", "device_ms", "merit")
"""Columns that early files of this format lack."""


def columns(archive: Archive, names: Sequence[str] = tuple(COLUMNS)) -> dict[str, np.ndarray]:
    """(N,) each, by name, one row a trial in the order of their numbers; texts as ``str`` objects."""
    rows = [(trial, archive.results.get(id_)) for id_, trial in sorted(archive.trials.items())]
    return {name: COLUMNS[name].values(rows) for name in names}


def save(path: Path, archive: Archive) -> None:
    """Write all trials; a trial without a result has state ``running`` and NaN or -1 in its figures."""
    with writing(path) as file:
        file.attrs["format"] = FORMAT
        for name, values in columns(archive).items():
            is_text = COLUMNS[name].kind is str
            file.create_dataset(f"trials/{name}", data=values, dtype=h5py.string_dtype() if is_text else None)
            if COLUMNS[name].unit:
                file[f"trials/{name}"].attrs["unit"] = COLUMNS[name].unit


def load(path: Path, names: Sequence[str] = tuple(COLUMNS)) -> dict[str, np.ndarray]:
    """The columns called ``names`` as ``columns`` gives them; only they are read.

    Raises RunError if the file is missing, damaged or of another format.
    """
    with reading(path, "an archive", REBUILD) as file:
        if file.attrs["format"] != FORMAT:
            raise RunError(f"{path}: has format {file.attrs['format']}, not {FORMAT}; {REBUILD}")
        trials = file["trials"]
        rows = len(trials["id"])
        return {n: COLUMNS[n].empty(rows) if n in LATER and n not in trials else _values(trials[n]) for n in names}


def _values(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:] if h5py.check_string_dtype(dataset.dtype) else dataset[:]
