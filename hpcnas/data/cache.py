"""Where what is synthesised and features are kept between runs."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hpcnas.core.errors import DataError

LEFT_FOR_S = 24 * 3600.0
"""Nobody takes so long to fill a folder."""


def cache_folder(configured: str) -> Path:
    """The configured folder, ``$HPCNAS_CACHE``, or ``~/.cache/hpcnas``; raises DataError for a home that is not known."""
    given = configured or os.environ.get("HPCNAS_CACHE") or "~/.cache/hpcnas"
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(f"{given}: {error}; set data.cache or HPCNAS_CACHE to a folder") from error


def filled_once(root: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder that becomes ``root``, whole or not at all."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for left in root.parent.glob(f".{root.name}.*"):  # by a program that was killed: others may be at work
        if time.time() - left.stat().st_mtime > LEFT_FOR_S:
            shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        write(work)
        work.rename(root)
    except OSError:
        if not root.is_dir():  # else someone else was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
