"""The journal: append-only events, the truth about a run. Everything else can be rebuilt from it or redone.

One JSON line an event, synced before anyone is told of it. A kill can tear the last line only; it is dropped on reading and
cut off before the next one is written.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState


@dataclass(frozen=True)
class Record:
    """An event and when it happened, in seconds of search."""

    elapsed: float
    event: Trial | Result


class Journal:
    """One writer at a time. What was appended is durable after ``commit``: events that come together share one sync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{path}: another program is writing this run; wait for it, or stop it") from None
        except OSError:
            pass  # a file system without locks: the user's care must do
        self._file.truncate(_whole_lines(path.read_bytes()))
        self._is_behind = False

    def append(self, event: Trial | Result, elapsed: float) -> None:
        self._file.write(json.dumps({"elapsed": round(elapsed, 3), **encode(event)}).encode() + b"\n")
        self._is_behind = True

    def commit(self) -> None:
        if self._is_behind:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._is_behind = False


def replay(path: Path) -> list[Record]:
    """All events of a journal, in order; none if there is no journal. Raises RunError for a damaged line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    records = []
    for number, line in enumerate(data[: _whole_lines(data)].splitlines(), 1):
        try:
            fields = json.loads(line)
            records.append(Record(fields.pop("elapsed"), decode(fields)))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}, line {number}: damaged ({error}); restore the file or remove the line") from error
    return records


def encode(event: Trial | Result) -> dict[str, Any]:
    """``event`` as JSON values."""
    if isinstance(event, Trial):
        proposal = {**asdict(event.proposal), "architecture": str(event.architecture)}
        proposal["settings"] = dict(event.proposal.settings)
        proposal["team"] = list(event.proposal.team)
        return {"event": "trial", "id": event.id, **proposal, "seed": event.seed, "attempt": event.attempt}
    fields = {**asdict(event), "state": event.state.value}
    # JSON has no NaN: a failed trial has no score.
    return {"event": "result", **{k: None if v != v else v for k, v in fields.items()}}


def decode(fields: Mapping[str, Any]) -> Trial | Result:
    """The inverse of ``encode``."""
    f = dict(fields)
    if f.pop("event") == "trial":
        settings, team = tuple(sorted(f.pop("settings", {}).items())), tuple(f.pop("team", ()))
        proposal = Proposal(Architecture.parse(f.pop("architecture")), f.pop("parent"), f.pop("mutation"), settings, team)
        return Trial(proposal=proposal, **f)
    f.update(state=TrialState(f["state"]), cost=Cost(**f["cost"]), curve=tuple(f["curve"]))
    f.update({k: float("nan") for k in ("score", "loss") if f[k] is None})
    return Result(**f)


def _whole_lines(data: bytes) -> int:
    """Number of bytes up to the end of the last complete line."""
    return data.rfind(b"\n") + 1
