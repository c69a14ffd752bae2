"""Recordings inside larger files, read where they are: stretches of bytes in tar shards and Arrow files, cells of Parquet.

Each has a path to be called by, which is that of the larger file and what the recording is called in there, such as
``train-000.tar/yes/anna.wav``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from hpcnas.core.errors import DataError

_BLOCK = 1 << 16
GROUPS_KEPT = 2
"""Of the row groups that were decoded last: recordings that are read in their order cost each group once."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """A recording in a larger file."""

    file: Path
    name: str
    """What it is called in there; no two have the same."""

    @property
    def path(self) -> Path:
        return self.file / self.name


@dataclass(frozen=True, slots=True)
class Bytes(_Inside):
    """One that is a stretch of the file."""

    start: int
    size: int

    @property
    def order(self) -> tuple[int, int]:
        """Of what is in one file: reading goes forwards."""
        return self.start, 0

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Slice(self.file, self.start, self.size), _BLOCK)


@dataclass(frozen=True, slots=True)
class Cell(_Inside):
    """One that is a value of a Parquet table, whose row groups are compressed and decoded as a whole."""

    column: str
    group: int
    row: int
    """In its group."""
    size: int

    @property
    def order(self) -> tuple[int, int]:
        return self.group, self.row

    def open(self) -> BinaryIO:
        return io.BytesIO(row_group(self.file, self.group, self.column)[self.row].as_buffer())


Inside = Bytes | Cell
Source = str | Path | Bytes | Cell
"""What is read as a recording."""


def path_of(source: Source) -> Path:
    """What a recording is called."""
    return source.path if isinstance(source, (Bytes, Cell)) else Path(source)


def opened(source: Source) -> BinaryIO:
    """The bytes of a recording; raises OSError."""
    return source.open() if isinstance(source, (Bytes, Cell)) else open(source, "rb")


def size_of(source: Source) -> int:
    """In bytes; raises OSError."""
    return source.size if isinstance(source, (Bytes, Cell)) else os.stat(source).st_size


@lru_cache(GROUPS_KEPT)
def row_group(file: Path, group: int, column: str) -> Sequence[Any]:
    """The values of a column in one row group of a Parquet file, as pyarrow has them; raises DataError."""
    pyarrow = library()
    try:
        with pyarrow.parquet.ParquetFile(file, memory_map=True) as table:
            values = table.read_row_group(group, columns=[column]).flatten()
            return values.column(column).combine_chunks()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: row group {group} cannot be read ({first_line(error)}); replace or remove it") from error


def library() -> Any:
    """pyarrow; raises DataError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"Arrow and Parquet files need pyarrow ({error}): pip install 'hpcnas[parquet]'") from error
    return pyarrow


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


class _Slice(io.RawIOBase):
    """A stretch of a file as a file of its own."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = open(path, "rb", buffering=0)
        self._start, self._size, self._position = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._position))
        self._file.seek(self._start + self._position)
        got = self._file.readinto(memoryview(buffer)[:count]) or 0
        self._position += got
        return got

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()
        super().close()
