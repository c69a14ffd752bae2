"""The journal: append-only events, the truth about a run. Everything else can be rebuilt from it or redone.

One JSON line an event, handed to the system before anyone is told of it: no kill of this program can take it back. A kill can
tear the last line only; it is dropped on reading and cut off before the next one is written.
"""

from __future__ import annotations

import fcntl
import gc
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.trial import ROLES, Cost, Proposal, Result, Trial, TrialState


@dataclass(frozen=True)
class Record:
    """An event and when it happened, in seconds of search."""

    elapsed: float
    event: Trial | Result


class Journal:
    """One writer at a time. What was appended survives any kill of this program after ``commit``, and the loss of its machine
    after ``sync``."""

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
        self._file.truncate(_whole_lines(path))
        self._is_behind = False

    def append(self, event: Trial | Result, elapsed: float) -> None:
        self._file.write(spell(Record(elapsed, event)))
        self._is_behind = True

    def commit(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        """Raises RunError if the file is not where it was: what is written to one that was removed is lost."""
        if not self._is_behind:
            return
        self.commit()
        if not self.path.exists() or self.path.stat().st_ino != os.fstat(self._file.fileno()).st_ino:
            raise RunError(f"{self.path}: was removed or replaced while the search was writing it; restore the run directory")
        _sync(self._file.fileno())
        self._is_behind = False


def replay(path: Path) -> list[Record]:
    """All events of a journal, in order; none if there is no journal. Raises RunError for a damaged line."""
    if not path.exists():
        return []
    records = []
    with open(path, "rb") as file, without_collections():
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):  # else it is the last one, torn
                records.append(parse(line, path, number))
    return records


def archive_of(path: Path) -> Archive:
    """What the events of a journal come to."""
    with without_collections():
        return Archive(record.event for record in replay(path))


def spell(record: Record) -> bytes:
    """The line of a record, with a checksum of what stands before it as its last value."""
    line = orjson.dumps({"elapsed": round(record.elapsed, 3), **encode(record.event)})[:-1]
    return line + b'%s%08x"}\n' % (CHECKSUM, zlib.crc32(line))


def parse(line: bytes, path: Path, number: int) -> Record:
    """The record on a line of a journal; raises RunError with its place if it is damaged."""
    try:
        body, has_checksum, rest = line.rpartition(CHECKSUM)
        if has_checksum and rest != b'%08x"}\n' % zlib.crc32(body):
            raise ValueError("its checksum does not match")
        fields = orjson.loads(body + b"}" if has_checksum else line)
        return Record(fields.pop("elapsed"), decode(fields))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}, line {number}: damaged ({error}); restore the file or remove the line") from error


def encode(event: Trial | Result) -> dict[str, Any]:
    """``event`` as JSON values; NaN, which JSON has not, becomes null when they are written."""
    if isinstance(event, Trial):
        p = event.proposal
        return {
            "event": "trial", "id": event.id, "architecture": str(p.architecture), "parent": p.parent, "mutation": p.mutation,
            "settings": dict(p.settings), "team": p.team, "seed": event.seed, "attempt": event.attempt,
            **({"given": True} if p.given else {}), **({"role": p.role} if p.role else {}),
            **({"donor": p.donor} if p.donor is not None else {}),
        }  # fmt: skip
    return {"event": "result", **vars(event), "state": event.state.value, "cost": vars(event.cost)}


def decode(fields: dict[str, Any]) -> Trial | Result:
    """The inverse of ``encode``; uses ``fields`` up."""
    f = fields
    if f.pop("event") == "trial":
        settings, team = tuple(sorted(f.pop("settings", {}).items())), tuple(f.pop("team", ()))
        parent, mutation, given = f.pop("parent"), f.pop("mutation"), f.pop("given", False)
        role = f.pop("role", mutation if mutation in ROLES else "")  # which early lines say there
        tower = Architecture.parse(f.pop("architecture"))
        proposal = Proposal(tower, parent, mutation, settings, team, given, role=role, donor=f.pop("donor", None))
        return Trial(proposal=proposal, **f)
    for name in ("curve", "merits"):
        values = f.get(name, ())
        f[name] = tuple(values) if None not in values else tuple(math.nan if value is None else value for value in values)
    f.update(state=TrialState(f["state"]), cost=Cost(**f["cost"]))
    f.update((name, math.nan) for name in ("score", "loss") if f[name] is None)
    return Result(**f)


_sync = getattr(os, "fdatasync", os.fsync)
"""Contents and size, but not the time of the change."""
CHECKSUM = b', "crc32": "'
"""Lines that were written before there was one have none."""


@contextmanager
def without_collections() -> Iterator[None]:
    """Everything that a replay makes is kept: looking for garbage meanwhile took 2.2 of 5.7 s for 100,000 trials, and making an
    archive of them another 1.4 of 2.3 s. Nor are they looked through when it is over."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _whole_lines(path: Path) -> int:
    """Number of bytes up to the end of the last complete line, sought from the end."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
