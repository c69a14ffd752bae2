"""Puts recordings into conditions: room, noise, level, codec, in this order. What is drawn depends on a recording's key and the
conditions alone, by hashes as everything that is drawn in a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import audio, problems, rooms
from hpcnas.data.codecs import heard_through
from hpcnas.data.conditions import Conditions, Sound
from hpcnas.data.corpus import Example
from hpcnas.data.problems import Problem
from hpcnas.data.spelling import key_of
from hpcnas.data.splitting import share_of

ATTEMPTS = 20
"""Sounds that are drawn for a recording, if the first cannot be used."""
KEPT_ROOMS = 64
"""In memory: a second of a room is 64 kB."""

T = TypeVar("T")


def key_for(example: Example, copy: int) -> str:
    """What chance depends on: the last two parts of the path, the stretch, and which copy it is."""
    name = key_of("/".join(example.path.parts[-2:]))
    return f"{name} from {example.start_s:.3f} copy {copy}"


class Mixer:
    """Reads sounds as they are needed, and collects those that cannot be used: another one is drawn in their place."""

    def __init__(self) -> None:
        self.bad: list[Problem] = []
        self.odd: list[Problem] = []
        self._refused: set[Path] = set()
        remark = lambda path, what: self.odd.append(problems.odd(path, what))  # noqa: E731
        self._reader = audio.Reader(remark)
        self._room = lru_cache(KEPT_ROOMS)(lambda path: rooms.response(path, remark))
        self._length_s = lru_cache(None)(audio.duration_s)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Mixer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def heard(self, samples: np.ndarray, conditions: Conditions, key: str) -> np.ndarray:
        """The recording in its conditions, as long as before; raises DataError if no sound that was drawn can be used."""
        key = f"{key} of {conditions.seed}"
        x = samples
        if conditions.rooms and share_of(f"{key}, in a room") < conditions.room_share:
            x = rooms.heard_in(self._first(conditions.rooms, f"{key}, room", lambda path, _: self._room(path)), x)
        if conditions.noise and share_of(f"{key}, in noise") < conditions.noise_share:
            noise = self._first(conditions.noise, f"{key}, noise", lambda path, at: self._stretch(path, at, len(x)))
            snr_db = _between(conditions.snr_db, f"{key}, snr")
            x = x + noise * np.sqrt(_power(x) / _power(noise) * 10 ** (-snr_db / 10))
        x = x * 10 ** (_between(conditions.gain_db, f"{key}, gain") / 20)
        if (peak := np.abs(x).max(initial=0)) > max(1.0, np.abs(samples).max(initial=0)):
            x = x / peak  # a microphone would have been turned down
        if conditions.codecs and share_of(f"{key}, through a codec") < conditions.codec_share:
            x = heard_through(_drawn(conditions.codecs, f"{key}, codec"), x)
        return x.astype(np.float32)

    def _first(self, sounds: Sequence[Sound], key: str, read: Callable[[Path, float], T | None]) -> T:
        """Of the sounds in the order in which they are drawn, the first that can be used."""
        for attempt in range(ATTEMPTS):
            path = _drawn(sounds, f"{key} {attempt}").path
            if path in self._refused:
                continue
            try:
                found = read(path, share_of(f"{key} {attempt} from"))
            except DataError as error:
                self._refused.add(path)
                self.bad.append(problems.of(path, error))
                continue
            if found is not None:
                return found
        why = problems.summary(self.bad) if self.bad else "all that were drawn are silent"
        raise DataError(f"data.noise, data.rooms: none of {ATTEMPTS} that were drawn can be used: {why}; name other folders")

    def _stretch(self, path: Path, at: float, count: int) -> np.ndarray | None:
        """So many samples of noise from somewhere, repeated if it is shorter; None if there is silence there."""
        length_s = count / audio.RATE
        start_s = at * max(0.0, self._length_s(path) - length_s)
        noise = self._reader.read(path, start_s, length_s)
        return np.resize(noise, count) if noise.any() else None


def _power(x: np.ndarray) -> float:
    return float((x.astype(np.float64) ** 2).mean())


def _between(ends: tuple[float, float], key: str) -> float:
    return ends[0] + (ends[1] - ends[0]) * share_of(key)


def _drawn(those: Sequence[T], key: str) -> T:
    return those[int(share_of(key) * len(those))]
