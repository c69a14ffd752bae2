"""HDF5 files that show any damage: their first 512 bytes, which HDF5 leaves to the application, hold a checksum of all others.

It is looked at before HDF5 sees the file, which may take the process down with it when what it reads is damaged.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from hpcnas.core.errors import RunError
from hpcnas.store.files import replacing

BLOCK = 512
"""Bytes of the smallest user block that HDF5 knows."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
"""First bytes of a file without one, as those from before there was a checksum."""


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """A file that takes the place of ``path``, whole and sealed, if the block succeeds.

    It is made in memory: of a full disk HDF5 makes errors in places where nobody can catch them.
    """
    whole = io.BytesIO()
    with h5py.File(whole, "w", userblock_size=BLOCK) as file:
        yield file
    whole.write(_seal(whole))
    with replacing(path) as part:
        part.write_bytes(whole.getbuffer())


@contextmanager
def reading(path: Path, what: str, way_out: str = "") -> Iterator[h5py.File]:
    """The file at ``path``; ``what`` is what it should be, for people.

    Raises RunError, also for what fails in the block, if it is missing or damaged; the message ends with ``way_out``.
    """
    ending = f"; {way_out}" if way_out else ""
    try:
        if is_sealed(path) and not is_intact(path):
            raise RunError(f"{path}: cannot be read as {what} (its contents do not match its checksum){ending}")
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except RunError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # what h5py has been seen to raise
        raise RunError(f"{path}: cannot be read as {what} ({' '.join(str(error).split())}){ending}") from error


def arrays_below(group: h5py.Group) -> dict[str, np.ndarray]:
    """Every array below ``group`` by its name there; raises ValueError for one that is not finite, of which nothing can be
    made: whatever inherits it, or is averaged with it, is not finite either."""
    arrays: dict[str, np.ndarray] = {}
    group.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{group[name].name[1:]} is not finite")
    return arrays


def seal(path: Path) -> None:
    """Give a file that was made with a user block of ``BLOCK`` bytes its checksum, in place."""
    with open(path, "r+b") as raw:
        raw.write(_seal(raw))


def is_sealed(path: Path) -> bool:
    """Whether the file has a checksum, which those from before there was one lack; raises OSError."""
    with open(path, "rb") as raw:
        return raw.read(len(_HDF5)) != _HDF5


def is_intact(path: Path) -> bool:
    """Whether a sealed file is as it was written; raises OSError."""
    with open(path, "rb") as raw:
        return raw.read(BLOCK) == _seal(raw)


def _seal(raw: BinaryIO) -> bytes:
    """The first bytes of an open file by its others; leaves it at its beginning."""
    raw.seek(BLOCK)
    total = hashlib.sha256()
    while chunk := raw.read(1 << 20):
        total.update(chunk)
    raw.seek(0)
    return f"sha256 of all bytes from {BLOCK} on: {total.hexdigest()}\n".encode().ljust(BLOCK, b"\n")
