"""Making a corpus of synthetic speech: eSpeak NG's voices in noise, written whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError
from hpcnas.data import espeak
from hpcnas.data.audio import RATE, fitted
from hpcnas.data.cache import filled_once
from hpcnas.data.espeak import Utterance
from hpcnas.data.noise import NOISE_FOLDER

# Of eSpeak NG's variants those that repeat to the sample and sound like people. Each speaks in one split only.
VOICES = {
    "train": (
        "m1", "m2", "m3", "m4", "f1", "iven", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo",
        "Jacky", "Lee", "Marco", "Mario", "adam", "anika", "antonio", "aunty", "belinda", "benjamin",
    ),
    "validation": ("m5", "m6", "f4", "boris", "caleb", "david", "linda", "steph"),
    "test": ("m7", "m8", "Alex", "Michael", "edward", "grandma", "grandpa", "paul", "shelby", "travis"),
}  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A recording to make."""

    split: str
    path: str
    """Below the corpus' root."""
    utterance: Utterance


def made_once(root: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder that becomes ``root``, whole or not at all; raises DataError without eSpeak NG."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise DataError("the built-in speech needs eSpeak NG: pip install 'espeakng-loader>=0.2.4'")
    filled_once(root, write)


def write_corpus(
    root: Path, plan: Sequence[Planned], length_s: float, snr_db: tuple[float, float], rng: np.random.Generator, note: str
) -> None:
    """Speak what is planned, each at a random place of ``length_s`` of noise; with lists of splits, noise and a checksum."""
    waveforms = _spoken([planned.utterance for planned in plan], length_s)
    noises = made_noises(rng, [w for planned, w in zip(plan, waveforms) if planned.split == "train"])
    (root / NOISE_FOLDER).mkdir()
    for name, noise in noises.items():
        soundfile.write(root / NOISE_FOLDER / f"{name}.wav", 0.1 * noise, RATE, subtype="PCM_16")
    lists: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for planned, waveform in zip(plan, waveforms):
        path = root / planned.path
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, _noisy(rng, waveform, noises, round(length_s * RATE), snr_db), RATE, subtype="PCM_16")
        lists[planned.split].append(f"{planned.path}\n")
    (root / "validation_list.txt").write_text("".join(lists["validation"]), encoding="utf-8")
    (root / "testing_list.txt").write_text("".join(lists["test"]), encoding="utf-8")
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.wav")):
        digest.update(path.read_bytes())
    (root / "README.txt").write_text(f"{note}\nsha256 of all samples: {digest.hexdigest()}\n", encoding="utf-8")


def _spoken(utterances: Sequence[Utterance], longest_s: float) -> list[np.ndarray]:
    """Each utterance at ``RATE``, without silence around it, cut to ``longest_s``, of unit power."""
    parts, rate = espeak.spoken(utterances)
    waveforms = []
    for utterance, part in zip(utterances, parts):
        if not part.any():
            raise DataError(f"eSpeak NG gave no sound for {utterance}")
        waveforms.append(of_unit_power(part, rate, longest_s))
    return waveforms


def of_unit_power(part: np.ndarray, rate: int, longest_s: float = np.inf) -> np.ndarray:
    """An utterance at ``RATE``, without silence around it, cut to ``longest_s``."""
    samples = soxr.resample(part.astype(np.float32) / 32768, rate, RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1][: round(min(longest_s * RATE, len(samples)))]
    return samples / np.sqrt((samples**2).mean())


def made_noises(rng: np.random.Generator, speech: list[np.ndarray], seconds: int = 40) -> dict[str, np.ndarray]:
    """Background noise of unit power: coloured noise, mains hum, babble of many training voices."""
    length = seconds * RATE
    noises = {"white": rng.standard_normal(length)}
    frequency = np.fft.rfftfreq(length, 1 / RATE).clip(20)
    for name, slope in (("pink", 0.5), ("brown", 1.0)):
        noises[name] = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) / frequency**slope, length)
    time_s = np.arange(length) / RATE
    noises["hum"] = sum(np.sin(2 * np.pi * 50 * k * time_s + k) / k for k in range(1, 12)) + 0.2 * noises["white"]
    babble = np.zeros(length)
    for _ in range(10 * seconds):
        voice = speech[rng.integers(len(speech))]
        start = rng.integers(0, length - len(voice))
        babble[start : start + len(voice)] += voice * rng.uniform(0.3, 1.0)
    noises["babble"] = babble
    return {name: noise / np.sqrt((noise**2).mean()) for name, noise in noises.items()}


def _noisy(
    rng: np.random.Generator, speech: np.ndarray, noises: Mapping[str, np.ndarray], length: int, snr_db: tuple[float, float]
) -> np.ndarray:
    """``length`` samples with ``speech`` somewhere in them, in noise at a random SNR, at a random volume."""
    start = int(rng.integers(0, length - len(speech) + 1))
    noise = noises[str(rng.choice(list(noises)))]
    offset = int(rng.integers(0, len(noise) - length))
    mixed = fitted(np.pad(speech, (start, 0)), length) + noise[offset : offset + length] * 10 ** (-rng.uniform(*snr_db) / 20)
    return (mixed / np.abs(mixed).max() * rng.uniform(0.1, 0.9)).astype(np.float32)
