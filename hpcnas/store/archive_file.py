"""``archive.h5``: a snapshot of the archive for analysis, replaced whole; the journal is the truth.

Group ``trials`` holds one-dimensional datasets of equal length, one row a trial: open them as columns of a data frame.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.store.files import replacing

FORMAT = 1
UNITS = {
    "seconds": "s",
    "latency_ms": "ms",
    "macs": "multiply-accumulates per example",
    "loss": "nat",
    "steps": "optimiser steps",
}


def save(path: Path, archive: Archive) -> None:
    """Write all trials; a trial without a result has state ``running`` and NaN or -1 in its figures."""
    rows = [(trial, archive.results.get(id_)) for id_, trial in sorted(archive.trials.items())]
    columns = {
        "id": np.array([t.id for t, _ in rows], np.int64),
        "parent": np.array([-1 if t.proposal.parent is None else t.proposal.parent for t, _ in rows], np.int64),
        "mutation": [t.proposal.mutation for t, _ in rows],
        "architecture": [str(t.architecture) for t, _ in rows],
        "depth": np.array([t.architecture.depth for t, _ in rows], np.int64),
        "seed": np.array([t.seed for t, _ in rows], np.int64),
        "attempt": np.array([t.attempt for t, _ in rows], np.int64),
        "settings": [" ".join(f"{name}={value:.4g}" for name, value in t.proposal.settings) for t, _ in rows],
        "team": [" ".join(map(str, t.proposal.team)) for t, _ in rows],
        "state": [r.state.value if r else "running" for _, r in rows],
        "error": [r.error if r else "" for _, r in rows],
        **{
            n: np.array([getattr(r.cost, n) if r else -1 for _, r in rows], np.int64) for n in ("params", "macs", "activations")
        },
        "latency_ms": np.array([r.cost.latency_ms if r and r.cost.latency_ms else np.nan for _, r in rows], np.float64),
        **{n: np.array([getattr(r, n) if r else np.nan for _, r in rows], np.float64) for n in ("score", "loss", "seconds")},
        **{
            n: np.array([getattr(r, n) if r else -1 for _, r in rows], np.int64)
            for n in ("epochs", "steps", "inherited", "group")
        },
    }
    with replacing(path) as part, h5py.File(part, "w", locking=False) as file:
        file.attrs["format"] = FORMAT
        for name, values in columns.items():
            if isinstance(values, list):
                values = np.array(values, dtype=h5py.string_dtype())
            file[f"trials/{name}"] = values
            if name in UNITS:
                file[f"trials/{name}"].attrs["unit"] = UNITS[name]
