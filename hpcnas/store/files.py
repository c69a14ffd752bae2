"""Writing files all or nothing."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcnas.core.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a sibling path to write; it takes the place of ``path``, durably, only if the block succeeds.

    Raises RunError where there is no room, of which the system says neither for what file nor what to do.
    """
    # A name of its own: of two programs that write the same file each leaves a whole one.
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(f"{path}: {error.strerror}; make room, then the same command with --resume goes on") from error
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a killed writer has left half written in ``folder``; nobody may be writing there."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
