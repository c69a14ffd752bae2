"""The folder layout and protocols of Google Speech Commands (Warden, 2018, arXiv:1804.03209).

``word/speaker_nohash_n.wav`` (or ``.flac`` ...), ``validation_list.txt``, ``testing_list.txt``, ``_background_noise_/*.wav``.
Where there are no lists, each speaker goes to one split by a hash of the name, as the corpus itself was divided.

Protocol ``12`` is that of the published benchmarks: keywords, other words as ``_unknown_``, background noise as ``_silence_``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import audio, noise
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, checked
from hpcnas.data.noise import NOISE_FOLDER
from hpcnas.data.splitting import LISTS, by_source, listed

UNKNOWN, SILENCE = "_unknown_", "_silence_"
PADDING_COUNTS = True
"""As in the published protocols, where every example is a whole second."""


def index(config: DataConfig, seed: int) -> CorpusIndex:
    """All examples below ``config.path``; which unknown words and stretches of noise are taken is drawn by ``seed``.

    Raises:
        DataError: for a missing folder, word or second list, or a word folder without audio.
    """
    root = Path(config.path).expanduser()
    words = _words(root)
    noises = noise.recordings(root, config)
    files = {split: {word: [] for word in words} for split in SPLITS}
    for split, word, recording in _divided(root, words, config):
        files[split][word].append(recording)
    if config.protocol == "all":
        labels = {word: number for number, word in enumerate(words)}
        splits = {s: tuple(Example(f, labels[w]) for w in words for f in files[s][w]) for s in SPLITS}
        return checked(CorpusIndex(tuple(words), splits, noises), str(root))
    return checked(_twelve_classes(config, root, words, files, noises, seed), str(root))


def _divided(root: Path, words: Sequence[str], config: DataConfig) -> Iterator[tuple[str, str, Path]]:
    """Split, word and path of all recordings, by the lists, or by speaker where there are none."""
    recordings = [(word, path) for word in words for path in _recordings(root / word)]
    there = [(root / name).is_file() for name in LISTS.values()]
    if not any(there):
        yield from by_source(root, recordings, config, across_classes=True)
        return
    if not all(there):
        name = list(LISTS.values())[there.index(False)]
        raise DataError(f"{root / name}: missing; it lists one word/file.wav a line; without both lists speakers are divided")
    splits = listed(root)
    for word, path in recordings:
        yield splits.get(f"{word}/{path.name}", "train"), word, path


def _recordings(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES)
    if not found:
        raise DataError(f"{folder}: a word folder without recordings ({', '.join(audio.SUFFIXES)}); fill or remove it")
    return found


def _twelve_classes(
    config: DataConfig, root: Path, words: list[str], files: dict, noises: tuple[Path, ...], seed: int
) -> CorpusIndex:
    for keyword in config.keywords:
        if keyword not in words:
            raise DataError(f'{root}: no folder for keyword "{keyword}"; set data.keywords (found: {", ".join(words)})')
    others = [word for word in words if word not in config.keywords]
    names = [*config.keywords]
    if others and config.unknown_percent:
        names.append(UNKNOWN)
    if config.silence_percent:
        if not noises:
            raise DataError(f"{root / NOISE_FOLDER}: no recordings for {SILENCE}; add some or set data.silence_percent = 0")
        names.append(SILENCE)
    splits = {}
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng([seed, number])
        examples = [Example(f, label) for label, word in enumerate(config.keywords) for f in files[split][word]]
        keyword_count = len(examples)
        if UNKNOWN in names:
            pool = [f for word in others for f in files[split][word]]
            wanted = min(len(pool), math.ceil(keyword_count * config.unknown_percent / 100))
            chosen = sorted(rng.permutation(len(pool))[:wanted])
            examples += [Example(pool[i], names.index(UNKNOWN)) for i in chosen]
        if SILENCE in names:
            lengths = [audio.duration_s(path) for path in noises]
            for _ in range(math.ceil(keyword_count * config.silence_percent / 100)):
                which = int(rng.integers(len(noises)))
                start = rng.uniform(0, max(0.0, lengths[which] - config.window_s))
                examples.append(Example(noises[which], names.index(SILENCE), float(start), gain=float(rng.uniform())))
        splits[split] = tuple(examples)
    return CorpusIndex(tuple(names), splits, noises)


def _words(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.path to a corpus in the Speech Commands layout")
    words = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
    if len(words) < 2:
        raise DataError(f"{root}: holds {len(words)} word folders; a corpus in the Speech Commands layout has one per word")
    return words
