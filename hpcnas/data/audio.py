"""Reading audio: any format, rate and number of channels that libsndfile and soxr know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError

RATE = 16000
"""Samples a second after reading; the field's standard for keyword spotting and language identification."""
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
"""Of files that are looked for in folders."""


def read(path: str | Path, start_s: float = 0.0, length_s: float | None = None) -> np.ndarray:
    """Mono samples in [-1, 1] at ``RATE``, from ``start_s`` for at most ``length_s``; raises DataError."""
    path = Path(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            rate, start = file.samplerate, min(round(start_s * file.samplerate), len(file))
            wanted = min(len(file) - start, len(file) if length_s is None else round(length_s * rate))
            if not len(file):
                raise DataError(f"{path}: holds no samples; remove it from the corpus")
            file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            is_short = len(samples) < wanted and file.format != "MP3"  # its length is an estimate
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from error
    if is_short or _is_cut_off(path):
        raise DataError(f"{path}: ends before its header says; replace or remove it")
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: holds samples that are not finite; replace or remove it")
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE).astype(np.float32)


def stream(path: str | Path, block_s: float = 10.0) -> Iterator[np.ndarray]:
    """What ``read`` gives, block by block of about ``block_s`` seconds, in memory that does not grow with the recording.

    Raises:
        DataError: at the first block, or behind the last one for a recording that ends before its header says.
    """
    path, seen = Path(path), 0
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if not (total := len(file)):
                raise DataError(f"{path}: holds no samples; remove it from the corpus")
            is_estimate, rate = file.format == "MP3", file.samplerate
            resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32")
            while len(block := file.read(max(1, round(block_s * rate)), dtype="float32", always_2d=True)):
                seen += len(block)
                if not np.isfinite(block).all():
                    raise DataError(f"{path}: holds samples that are not finite; replace or remove it")
                mono = block.mean(axis=1)
                mono = resampler.resample_chunk(mono) if resampler else mono
                if len(mono):
                    yield mono
            if resampler and len(rest := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
                yield rest
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from error
    if (seen < total and not is_estimate) or _is_cut_off(path):
        raise DataError(f"{path}: ends before its header says; replace or remove it")


def duration_s(path: Path) -> float:
    """Length of a recording in seconds, from its header; raises DataError."""
    try:
        info = soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from error
    if not info.frames:
        raise DataError(f"{path}: holds no samples; remove it from the corpus")
    return info.frames / info.samplerate


def _unreadable(path: Path, error: soundfile.LibsndfileError) -> DataError:
    reason = error.error_string.strip().rstrip(".")
    try:
        open(path, "rb").close()
    except OSError as of_system:  # of which libsndfile says no more than "System error"
        reason = of_system.strerror
    return DataError(f"{path}: cannot be read as audio ({reason}); replace or remove it")


def _is_cut_off(path: Path) -> bool:
    """Whether a WAV file is shorter than it says. libsndfile reads what is there without a word."""
    with open(path, "rb") as file:
        head = file.read(8)
    size = int.from_bytes(head[4:], "little")
    # Programs that write into a pipe cannot know the size and put 0 or nearly the largest one.
    return head[:4] == b"RIFF" and size < 0x7FFF0000 and size + 7 > path.stat().st_size


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Exactly ``length`` samples: the start of a longer stretch, a shorter one padded with zeros at its end."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
