"""The settings of ``[data]`` for a folder that nobody has described: what a finished model is to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcnas.core.errors import DataError
from hpcnas.data import finding
from hpcnas.data.corpus import SILENCE, UNKNOWN, DataConfig
from hpcnas.data.noise import NOISE_FOLDER


def data_of(root: Path, own: DataConfig) -> dict[str, Any]:
    """Keys of ``[data]`` and their values: every folder of languages a class if the model tells languages apart, else every
    word a keyword, beside all of ``_unknown_`` and some silence where there are such folders.

    Args:
        own: of the model's own corpus.

    Raises:
        DataError: for a folder without word folders.
    """
    if own.name in ("language_folders", "builtin_lid"):
        return {"name": "language_folders", "path": str(root), "source_pattern": own.source_pattern}
    names = [folder.name for folder in finding.folders(root)]
    if not (words := [name for name in names if not name.startswith(("_", "."))]):
        raise DataError(f"{root}: has no folders of words, such as {root / 'yes'}; --to takes a configuration as well")
    has_silence = SILENCE in names or NOISE_FOLDER in names
    return {
        "name": "speech_commands",
        "path": str(root),
        "keywords": sorted(words),
        "source_pattern": own.source_pattern,
        "unknown_percent": 100.0 if UNKNOWN in names else 0.0,
        "silence_percent": own.silence_percent if has_silence else 0.0,
    }
