"""The best trials of one or several runs, by any column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcnas.analysis.trials import Columns, ConfiguredRun, ranking
from hpcnas.analysis.where import column_of, unknown, where


def together(runs: Sequence[ConfiguredRun], columns: Sequence[Columns]) -> Columns:
    """One below the other, with a column ``run`` in front."""
    names = np.concatenate([np.full(len(of["id"]), run.name, object) for run, of in zip(runs, columns)])
    return {"run": names, **{name: np.concatenate([of[name] for of in columns]) for name in columns[0]}}


def best(columns: Columns, sort: str = "merit", condition: str = "", k: int | None = 10) -> np.ndarray:
    """Rows of the first ``k`` trials.

    Args:
        sort: ``merit``: the best first, as the search ranks them, only those that have a score; else a column, the smallest
            first, or with ``-`` in front the largest. Rows where it is not known come last.
        condition: a filter, see ``where``.

    Raises:
        QueryError: for an unknown column or a filter that cannot be read.
    """
    admitted = where(condition, columns) if condition.strip() else np.ones(len(columns["id"]), bool)
    if sort == "merit":
        rows = ranking(columns)
    else:
        values = column_of(columns, sort.removeprefix("-"))
        is_text = values.dtype == object
        key = np.unique(values.astype(str), return_inverse=True)[1] if is_text else values.astype(float)
        missing = np.zeros(len(values), bool) if is_text else unknown(values, sort.removeprefix("-"))
        rows = np.lexsort((np.where(missing, 0, -key if sort.startswith("-") else key), missing))
    return rows[admitted[rows]][:k]
