"""Built-in speech: a keyword corpus in the Speech Commands layout, synthesised on first use.

Ten keywords and 20 other words, spoken by eSpeak NG in many voices, accents, speeds and pitches, at random places of a noisy
second. Voices are disjoint between train, validation and test. A folder of WAV files like any other corpus: listen to it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError
from hpcnas.data import speech_commands
from hpcnas.data.audio import RATE, fitted
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig

logger = logging.getLogger(__name__)

VERSION = 2
"""Raised when the same seed gives another corpus."""

OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin",
    "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero",
)  # fmt: skip
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
# Of eSpeak NG's variants those that repeat to the sample and sound like people. Each speaks in one split only.
VOICES = {
    "train": (
        "m1", "m2", "m3", "m4", "f1", "iven", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo",
        "Jacky", "Lee", "Marco", "Mario", "adam", "anika", "antonio", "aunty", "belinda", "benjamin",
    ),
    "validation": ("m5", "m6", "f4", "boris", "caleb", "david", "linda", "steph"),
    "test": ("m7", "m8", "Alex", "Michael", "edward", "grandma", "grandpa", "paul", "shelby", "travis"),
}  # fmt: skip
SNR_DB = (-3.0, 15.0)


@dataclass(frozen=True)
class Size:
    """Recordings per keyword and per other word, in train, validation and test."""

    keyword: tuple[int, int, int] = (160, 80, 80)
    other: tuple[int, int, int] = (10, 6, 6)


def index(config: DataConfig, seed: int) -> CorpusIndex:
    """The built-in corpus, made first if need be; the same for everyone, whatever the run's seed."""
    words = "" if config.keywords == DataConfig().keywords else "-" + "-".join(config.keywords)
    root = Path(config.path).expanduser() if config.path else cache_folder(config.cache) / f"builtin-kws-v{VERSION}{words}"
    if not root.is_dir():
        logger.info("built-in speech: synthesising into %s, once", root)
        synthesise(root, config.keywords)
    # All of the other words: the corpus was made with their share in mind.
    return speech_commands.index(replace(config, path=str(root), unknown_percent=100.0), seed)


def synthesise(root: Path, keywords: tuple[str, ...], size: Size = Size(), seed: int = 0) -> None:
    """Write the corpus to ``root``, whole or not at all; raises DataError without eSpeak NG."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise DataError("the built-in speech needs eSpeak NG: pip install 'espeakng-loader>=0.2.4'")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        _write(work, keywords, size, seed)
        work.rename(root)
    except OSError:
        if not root.is_dir():  # else someone else was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(root: Path, keywords: tuple[str, ...], size: Size, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = []
    for split, voices, per_keyword, per_other in zip(SPLITS, VOICES.values(), size.keyword, size.other):
        for word in (*keywords, *OTHER_WORDS):
            for take in range(per_keyword if word in keywords else per_other):
                voice = f"{rng.choice(ACCENTS)}+{rng.choice(voices)}"
                utterance = {
                    "text": word,
                    "voice": voice,
                    "rate": int(rng.integers(110, 261)),
                    "pitch": int(rng.integers(15, 86)),
                }
                plan.append((split, word, f"{voice.replace('+', '-')}_nohash_{take}.wav", utterance))
    waveforms = _spoken([utterance for *_, utterance in plan])
    noises = _noises(rng, [w for (split, *_), w in zip(plan, waveforms) if split == "train"])
    (root / speech_commands.NOISE_FOLDER).mkdir()
    for name, noise in noises.items():
        soundfile.write(root / speech_commands.NOISE_FOLDER / f"{name}.wav", 0.1 * noise, RATE, subtype="PCM_16")
    lists = {"validation": [], "test": []}
    for (split, word, name, _), waveform in zip(plan, waveforms):
        (root / word).mkdir(exist_ok=True)
        soundfile.write(root / word / name, _noisy(rng, waveform, noises), RATE, subtype="PCM_16")
        if split in lists:
            lists[split].append(f"{word}/{name}\n")
    (root / "validation_list.txt").write_text("".join(lists["validation"]))
    (root / "testing_list.txt").write_text("".join(lists["test"]))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.wav")):
        digest.update(path.read_bytes())
    (root / "README.txt").write_text(
        f"Synthesised by hpcnas with eSpeak NG, version {VERSION}, seed {seed}.\nsha256 of all samples: {digest.hexdigest()}\n"
    )


def _spoken(utterances: list[dict]) -> list[np.ndarray]:
    """Each utterance at ``RATE``, without silence around it, at most a second long, of unit power."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "speech.npz")
        done = subprocess.run(
            [sys.executable, "-m", "hpcnas.data.espeak", out], input=json.dumps(utterances), text=True, capture_output=True
        )
        if done.returncode:
            raise DataError(f"eSpeak NG failed: {done.stderr.strip().splitlines()[-1]}")
        with np.load(out) as made:
            parts = np.split(made["samples"], np.cumsum(made["lengths"])[:-1])
            rate = int(made["rate"])
    waveforms = []
    for utterance, part in zip(utterances, parts):
        samples = soxr.resample(part.astype(np.float32) / 32768, rate, RATE)
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        if not len(loud):
            raise DataError(f"eSpeak NG gave no sound for {utterance}")
        samples = samples[loud[0] : loud[-1] + 1][:RATE]
        waveforms.append(samples / np.sqrt((samples**2).mean()))
    return waveforms


def _noises(rng: np.random.Generator, speech: list[np.ndarray], seconds: int = 40) -> dict[str, np.ndarray]:
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


def _noisy(rng: np.random.Generator, speech: np.ndarray, noises: dict[str, np.ndarray]) -> np.ndarray:
    """A second with ``speech`` somewhere in it, in noise at a random SNR, at a random volume."""
    start = int(rng.integers(0, RATE - len(speech) + 1))
    noise = noises[str(rng.choice(list(noises)))]
    offset = int(rng.integers(0, len(noise) - RATE))
    mixed = fitted(np.pad(speech, (start, 0)), RATE) + noise[offset : offset + RATE] * 10 ** (-rng.uniform(*SNR_DB) / 20)
    return (mixed / np.abs(mixed).max() * rng.uniform(0.1, 0.9)).astype(np.float32)
