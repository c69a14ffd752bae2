"""Rooms: impulse responses from files, or simulated (``[rooms]``: pyroomacoustics), and what recordings sound like in them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from hpcnas.core.errors import DataError
from hpcnas.data import audio
from hpcnas.data.cache import cache_folder, filled_once
from hpcnas.data.conditions import ConditionsConfig

logger = logging.getLogger(__name__)

SIMULATED = "simulated"
"""Among ``data.rooms``: made on first use."""
COUNT = 60
"""Of simulated rooms, with one mouth and one microphone each; half a minute on one core."""
LONGEST_S = 10.0
"""The largest halls decay in this time."""
LEAST_CREST = 12.0
"""Peak of an impulse response over its root mean square: 30 and more where a room decays, noise has 4 and speech up to 10."""
ONSET = 0.1
"""The direct sound is the first that comes within 20 dB of the peak, which may be a reflection (ISO 3382-1)."""
BEFORE_S = 0.0025
"""What is kept before that: the direct sound rises so fast."""
MOST_BEFORE, MOST_AT_END = 0.2, 0.1
"""Shares of the energy that an impulse response may have before its onset, and in its last quarter."""
TRIES = 1000
"""To draw a room that there can be."""
HIGHEST_ORDER = 80
"""Of reflections in simulated rooms: the time it takes grows with the cube; what comes later is 40 dB down and more."""
FORMAT = 1


def response(path: Path, remark: audio.Remark = audio.warn) -> np.ndarray:
    """A room's impulse response from just before the direct sound on, at ``audio.RATE``; of several channels the first.

    Raises:
        DataError: for a file that cannot be read or is none: too long, silent, without onset, or not dying away.
    """
    if audio.duration_s(path) > LONGEST_S:
        raise DataError(f"{path}: is too long for an impulse response ({LONGEST_S:g} s at most)")
    with audio.Reader(remark, channel=0) as reader:
        samples = reader.read(path)
    if not samples.any():
        raise DataError(f"{path}: is silent, and so no impulse response")
    energy = samples.astype(np.float64) ** 2
    peak, total = int(energy.argmax()), float(energy.sum())
    onset = int((energy >= ONSET**2 * energy[peak]).argmax())
    start = max(0, onset - round(BEFORE_S * audio.RATE))
    if energy[peak] < LEAST_CREST**2 * total / len(energy) and len(energy) > 2 * LEAST_CREST**2:
        raise DataError(f"{path}: has no clear peak, and so is no impulse response")
    if energy[:start].sum() > MOST_BEFORE * total:
        raise DataError(f"{path}: has no clear onset, and so is no impulse response")
    if energy[start:][-max(1, (len(energy) - start) // 4) :].sum() > MOST_AT_END * total and len(energy) - start > 1000:
        raise DataError(f"{path}: does not die away, and so is no impulse response")
    return samples[start:]


def heard_in(response: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Samples as they sound in a room, as many and as loud (in mean power) as before."""
    length = 1 << (len(samples) + len(response) - 2).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(response, length), length)[: len(samples)]
    power = float((wet**2).mean())
    return wet * np.sqrt(float((samples.astype(np.float64) ** 2).mean()) / power) if power else wet


def simulated(config: ConditionsConfig, cache: str) -> Path:
    """The folder of simulated rooms, made first if need be; raises DataError where pyroomacoustics is not installed."""
    settings = [FORMAT, COUNT, config.room_m, config.distance_m, config.reverberation_s, config.copies_seed]
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = cache_folder(cache) / "rooms" / name / SIMULATED
    if not folder.is_dir():
        filled_once(folder, lambda work: _fill(work, config))
    return folder


def _fill(folder: Path, config: ConditionsConfig) -> None:
    try:
        import pyroomacoustics  # takes seconds
    except ImportError as error:
        raise DataError(
            f'data.rooms = "{SIMULATED}": needs pyroomacoustics ({error}): pip install "hpcnas[rooms]"; or name a folder of '
            "impulse responses"
        ) from error
    pyroomacoustics.constants.set("num_threads", 1)  # sums in one order
    logger.info("data.rooms: simulating %d rooms", COUNT)
    rng = np.random.default_rng(config.copies_seed)
    for number in range(COUNT):
        tries = (_simulated(pyroomacoustics, config, rng.uniform) for _ in range(TRIES))
        if (found := next((one for one in tries if one is not None), None)) is None:
            raise DataError(
                f"data.room_m = {list(config.room_m)}, distance_m = {list(config.distance_m)}, reverberation_s = "
                f"{list(config.reverberation_s)}: in {TRIES} draws no room that there can be; give wider ranges"
            )
        soundfile.write(folder / f"{number:03d}.wav", found / np.abs(found).max() * 0.99, audio.RATE, subtype="PCM_16")


def _simulated(acoustics: Any, config: ConditionsConfig, uniform: Callable[..., Any]) -> np.ndarray | None:
    """The impulse response of a box by the image method (Allen & Berkley, 1979, doi:10.1121/1.382599); None if a room of this
    size cannot decay so fast, or is too small for the distance."""
    size = np.array([*uniform(*config.room_m, 2), uniform(2.4, 4.0)])
    decay_s, distance_m = uniform(*config.reverberation_s), uniform(*config.distance_m)
    height = uniform(0.8, 1.8, 2)
    angle = uniform(0, 2 * np.pi)
    apart = np.array([distance_m * np.cos(angle), distance_m * np.sin(angle)])
    spare = size[:2] - np.abs(apart) - 0.6  # nobody speaks within 30 cm of a wall
    place = uniform(0, 1, 2)
    if (spare <= 0).any():
        return None
    mouth = 0.3 + place * spare + np.maximum(0, -apart)
    try:
        absorption, order = acoustics.inverse_sabine(decay_s, size)
    except ValueError:
        return None
    room = acoustics.ShoeBox(size, fs=audio.RATE, materials=acoustics.Material(absorption), max_order=min(order, HIGHEST_ORDER))
    room.add_source([*mouth, height[0]])
    room.add_microphone([*(mouth + apart), height[1]])
    room.compute_rir()
    return room.rir[0][0][: round(LONGEST_S * audio.RATE)]
