"""Built-in speech: a keyword corpus in the Speech Commands layout, synthesised on first use.

Ten keywords and 20 other words, spoken by eSpeak NG in many voices, accents, speeds and pitches, at random places of a noisy
second. Voices are disjoint between train, validation and test. A folder of WAV files like any other corpus: listen to it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpcnas.data import speech_commands
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.data.speech_maker import VOICES, Planned, Utterance, made_once, write_corpus

logger = logging.getLogger(__name__)

PADDING_COUNTS = speech_commands.PADDING_COUNTS
says_splits = speech_commands.says_splits
VERSION = 2
"""Raised when the same seed gives another corpus."""

OTHER_WORDS = (
    "bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin",
    "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "wow", "zero",
)  # fmt: skip
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
SNR_DB = (-3.0, 15.0)


@dataclass(frozen=True)
class Size:
    """Recordings per keyword and per other word, in train, validation and test."""

    keyword: tuple[int, int, int] = (160, 80, 80)
    other: tuple[int, int, int] = (10, 6, 6)


def index(config: DataConfig) -> CorpusIndex:
    """The built-in corpus, made first if need be; the same for everyone."""
    words = "" if config.keywords == DataConfig().keywords else "-" + "-".join(config.keywords)
    root = Path(config.path).expanduser() if config.path else cache_folder(config.cache) / f"builtin-kws-v{VERSION}{words}"
    if not root.is_dir():
        logger.info("built-in speech: synthesising into %s, once", root)
        synthesise(root, config.keywords)
    # All of the other words: the corpus was made with their share in mind.
    return speech_commands.index(replace(config, path=str(root), unknown_percent=100.0))


def synthesise(root: Path, keywords: tuple[str, ...], size: Size = Size(), seed: int = 0) -> None:
    """Write the corpus to ``root``; raises DataError without eSpeak NG."""
    rng = np.random.default_rng(seed)
    plan = []
    for split, per_keyword, per_other in zip(SPLITS, size.keyword, size.other):
        for word in (*keywords, *(word for word in OTHER_WORDS if word not in keywords)):
            for take in range(per_keyword if word in keywords else per_other):
                voice = f"{rng.choice(ACCENTS)}+{rng.choice(VOICES[split])}"
                rate, pitch = int(rng.integers(110, 261)), int(rng.integers(15, 86))
                utterance: Utterance = {"text": word, "voice": voice, "rate": rate, "pitch": pitch}
                plan.append(Planned(split, f"{word}/{voice.replace('+', '-')}_nohash_{take}.wav", utterance))
    note = f"Synthesised by hpcnas with eSpeak NG, version {VERSION}, seed {seed}."
    made_once(root, lambda work: write_corpus(work, plan, 1.0, SNR_DB, rng, note))
