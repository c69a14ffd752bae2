"""Other ways to read a journal than from end to end: as it grows, its last event only, past damaged lines."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from hpcnas.core.errors import RunError
from hpcnas.store.journal import CHECKSUM, Record, parse, without_collections

_BLOCK = 1 << 16
_REST = len(CHECKSUM) + len('01234567"}\n')
"""Bytes of a line behind what its checksum is of."""


class Tail:
    """Follows a journal while a search writes it: every event is read once, and nothing if there is none.

    Looks at the file's size and reads what is new; takes no lock, so that the search never notices.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = self._offset = 0

    def read(self) -> list[Record]:
        """Events since the last call; a line that is still being written is left for the next one.

        Raises RunError for a damaged line, or if the journal is no longer the one that was begun with.
        """
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._offset:
            raise RunError(f"{self.path}: has become shorter; is this still the same run? Start again")
        if size == self._offset:
            return []
        with open(self.path, "rb") as file, without_collections():
            file.seek(self._offset)
            return [self._taken(line) for line in file if line.endswith(b"\n")]

    def _taken(self, line: bytes) -> Record:
        record = parse(line, self.path, self.lines + 1)
        self.lines += 1
        self._offset += len(line)
        return record


def check(path: Path) -> None:
    """Raise RunError for the first damaged line, as reading all of them does; lines with a checksum are only compared with it,
    which takes a tenth of the time."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            body, rest = line[:-_REST], line[-_REST:]
            if rest != b'%s%08x"}\n' % (CHECKSUM, crc32(body)) and line.endswith(b"\n"):
                parse(line, path, number)


def last(path: Path) -> Record | None:
    """The newest event, read from the file's end; None if there is none. Raises RunError if its line is damaged."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        start = end = file.seek(0, os.SEEK_END)
        while start > 0:
            start = max(0, start - _BLOCK)
            file.seek(start)
            data = file.read(end - start)
            whole = data[: data.rfind(b"\n") + 1]
            before = whole.rfind(b"\n", 0, -1)
            if whole and (before >= 0 or start == 0):
                return parse(whole[before + 1 :], path, -1)
    return None


@dataclass(frozen=True)
class Scan:
    """All that can be read of a journal, and what cannot."""

    records: Sequence[Record]
    damaged: Sequence[str]
    """A sentence a line."""
    torn: int
    """Bytes behind the last whole line: being written, or cut off by a kill; dropped on reading and on resume."""


def scan(path: Path) -> Scan:
    """Read past damaged lines."""
    records, damaged, torn = [], [], 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                torn = len(line)
                continue
            try:
                records.append(parse(line, path, number))
            except RunError as error:
                damaged.append(str(error))
    return Scan(records, damaged, torn)


@contextmanager
def unwritten(path: Path, who: str = "a search") -> Iterator[None]:
    """Keep other programs from writing the run of this journal within the block; changes nothing in the file.

    Raises RunError if one is writing it now: ``who``.
    """
    with open(path, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{path}: {who} is writing this run; wait for it, or stop it") from None
        except OSError:
            pass  # a file system without locks: the user's care must do
        yield
