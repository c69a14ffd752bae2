"""Whether ``archive.h5`` says what the journal says, or said a while ago."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpcnas.analysis.trials import Columns, knows
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Result, Trial
from hpcnas.store import archive_file
from hpcnas.store.journal import Record

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
    now = {id_: of[-1:] for id_, of in states.items()}
    odd = [
        text for row, id_ in enumerate(stored["id"].tolist()) if (text := _odd(stored, row, id_, states if is_behind else now))
    ]
    if not is_behind:
        odd += [f"trial {id_} is missing" for id_ in sorted(states.keys() - set(stored["id"].tolist()))]
    if odd:
        rest = f", and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        yield f"differs from the journal: {'; '.join(odd[:SHOWN])}{rest}", True
    elif is_behind:
        yield "is older than the journal", False


def _states(records: Sequence[Record]) -> dict[int, list[tuple[Trial, Result | None]]]:
    """Every state that each trial was in, the present one last."""
    states = defaultdict(list)
    for record in records:
        event = record.event
        if isinstance(event, Trial):
            states[event.id].append((event, states[event.id][-1][1] if states[event.id] else None))
        elif event.trial in states:
            states[event.trial].append((states[event.trial][-1][0], event))
    return dict(states)


def _odd(stored: Columns, row: int, id_: int, states: dict[int, list[tuple[Trial, Result | None]]]) -> str:
    """How a row differs from all that it may say; empty if it does not."""
    if id_ not in states:
        return f"trial {id_} is not in the journal"
    seen = [_differences(stored, row, state) for state in reversed(states[id_])]
    return f"trial {id_} has another {', '.join(seen[0])}" if all(seen) else ""


def _differences(stored: Columns, row: int, state: tuple[Trial, Result | None]) -> list[str]:
    differ = []
    for name, column in archive_file.COLUMNS.items():
        value, wanted = stored[name][row], column.values([state])[0]
        if value != wanted and not (value != value and wanted != wanted):
            differ.append(name)
    return differ
