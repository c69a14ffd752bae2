"""Whether ``archive.h5`` says what the journal says, or said a while ago."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hpcnas.analysis.trials import Columns, knows
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Result, Trial
from hpcnas.store import archive_file
from hpcnas.store.journal import Record

State = tuple[Trial, Result | None]
SHOWN = 5
"""Differences that are spelled out."""


def snapshot(path: Path, records: Sequence[Record]) -> Iterator[tuple[str, bool]]:
    """What is wrong with the file, and whether it is damage: a file that is merely older than the journal is none."""
    if not path.exists():
        if records:
            yield "is missing", False
        return
    try:
        stored = archive_file.load(path)
    except RunError as error:
        yield str(error).removeprefix(f"{path}: ").removesuffix(f"; {archive_file.REBUILD}"), True
        return
    states = _states(records)
    is_behind = bool(records) and not knows(stored, records[-1])
    odd = []
    for row in _suspects(stored, states):
        id_ = int(stored["id"][row])
        allowed = states.get(id_, [])
        odd.append(_odd(stored, row, id_, allowed if is_behind else allowed[-1:]))
    if not is_behind:
        odd += [f"trial {id_} is missing" for id_ in sorted(states.keys() - set(stored["id"].tolist()))]
    if odd := [text for text in odd if text]:
        rest = f", and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        yield f"differs from the journal: {'; '.join(odd[:SHOWN])}{rest}", True
    elif is_behind:
        yield "is older than the journal", False


def _suspects(stored: Columns, states: dict[int, list[State]]) -> Sequence[int]:
    """Rows that are not as the journal says now."""
    now = [states[id_][-1] if id_ in states else None for id_ in stored["id"].tolist()]
    known = np.array([state is not None for state in now], bool)
    rows = [state for state in now if state is not None]
    differs = np.zeros(len(rows), bool)
    for name, column in archive_file.COLUMNS.items():
        wanted, there = column.values(rows), stored[name][known]
        differs |= ~((wanted == there) | ((wanted != wanted) & (there != there)))
    suspect = ~known
    suspect[known] = differs
    return np.flatnonzero(suspect).tolist()


def _states(records: Sequence[Record]) -> dict[int, list[State]]:
    """Every state that each trial was in, the present one last."""
    states: defaultdict[int, list[State]] = defaultdict(list)
    for record in records:
        event = record.event
        if isinstance(event, Trial):
            states[event.id].append((event, states[event.id][-1][1] if states[event.id] else None))
        elif event.trial in states:
            states[event.trial].append((states[event.trial][-1][0], event))
    return dict(states)


def _odd(stored: Columns, row: int, id_: int, allowed: Sequence[State]) -> str:
    """How a row differs from all that it may say; empty if it does not."""
    if not allowed:
        return f"trial {id_} is not in the journal"
    seen = [_differences(stored, row, state) for state in reversed(allowed)]
    return f"trial {id_} has another {', '.join(seen[0])}" if all(seen) else ""


def _differences(stored: Columns, row: int, state: State) -> list[str]:
    differ = []
    for name, column in archive_file.COLUMNS.items():
        value, wanted = stored[name][row], column.values([state])[0]
        if value != wanted and not (value != value and wanted != wanted):
            differ.append(name)
    return differ
