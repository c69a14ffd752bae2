"""A corpus' own recordings of background noise."""

from __future__ import annotations

from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio, problems
from hpcnas.data.corpus import DataConfig

NOISE_FOLDER = "_background_noise_"
"""As Speech Commands calls it, in every layout."""


def recordings(root: Path, config: DataConfig) -> tuple[Path, ...]:
    """Those below ``root`` that can be read; raises DataError for others, unless they are to be skipped."""
    readable, bad = [], []
    for path in sorted(p for p in (root / NOISE_FOLDER).glob("*") if p.suffix.lower() in audio.SUFFIXES):
        try:
            audio.duration_s(path)
            readable.append(path)
        except DataError as error:
            bad.append(problems.of(path, error))
    problems.settle(bad, config.on_bad_file)
    return tuple(readable)
