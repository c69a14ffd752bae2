"""Reading audio: any format, rate and number of channels that libsndfile and soxr know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError

RATE = 16000
"""Samples a second after reading; the field's standard for keyword spotting and language identification."""


def read(path: Path, start_s: float = 0.0, length_s: float | None = None) -> np.ndarray:
    """Mono samples in [-1, 1] at ``RATE``, from ``start_s`` for at most ``length_s``; raises DataError."""
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            if not len(file):
                raise DataError(f"{path}: holds no samples; remove it from the corpus")
            file.seek(min(round(start_s * rate), len(file)))
            samples = file.read(-1 if length_s is None else round(length_s * rate), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: cannot be read as audio ({error.error_string.strip()}); replace or remove it") from error
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: holds samples that are not finite; replace or remove it")
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE).astype(np.float32)


def duration_s(path: Path) -> float:
    """Length of a recording in seconds, from its header; raises DataError."""
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: cannot be read as audio ({error.error_string.strip()}); replace or remove it") from error
    return info.frames / info.samplerate


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Exactly ``length`` samples: the start of a longer stretch, a shorter one padded with zeros at its end."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
