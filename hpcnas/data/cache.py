"""Where synthesised speech and features are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(configured: str) -> Path:
    """The configured folder, ``$HPCNAS_CACHE``, or ``~/.cache/hpcnas``."""
    return Path(configured or os.environ.get("HPCNAS_CACHE") or Path.home() / ".cache" / "hpcnas").expanduser()
