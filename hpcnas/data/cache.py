"""Where synthesised speech and features are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from hpcnas.core.errors import DataError


def cache_folder(configured: str) -> Path:
    """The configured folder, ``$HPCNAS_CACHE``, or ``~/.cache/hpcnas``; raises DataError for a home that is not known."""
    given = configured or os.environ.get("HPCNAS_CACHE") or "~/.cache/hpcnas"
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(f"{given}: {error}; set data.cache or HPCNAS_CACHE to a folder") from error
