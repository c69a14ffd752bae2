"""The folder layout and protocols of Google Speech Commands (Warden, 2018, arXiv:1804.03209).

``word/speaker_nohash_n.wav``, ``validation_list.txt``, ``testing_list.txt``, ``_background_noise_/*.wav``. Protocol ``12`` is
that of the published benchmarks: ten keywords, other words as ``_unknown_``, stretches of background noise as ``_silence_``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import audio, noise
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, checked
from hpcnas.data.noise import NOISE_FOLDER
from hpcnas.data.splitting import LISTS, listed

UNKNOWN, SILENCE = "_unknown_", "_silence_"
PADDING_COUNTS = True
"""As in the published protocols, where every example is a whole second."""


def index(config: DataConfig, seed: int) -> CorpusIndex:
    """All examples below ``config.path``; which unknown words and stretches of noise are taken is drawn by ``seed``.

    Raises:
        DataError: for a missing folder, list or word, or a word folder without audio.
    """
    root = Path(config.path).expanduser()
    words = _words(root)
    noises = noise.recordings(root, config)
    files = {split: {word: [] for word in words} for split in SPLITS}
    for name in LISTS.values():
        if not (root / name).is_file():
            raise DataError(f"{root / name}: missing; it lists one word/file.wav a line")
    split_of = listed(root)
    for word in words:
        recordings = sorted((root / word).glob("*.wav"))
        if not recordings:
            raise DataError(f"{root / word}: a word folder without .wav files; fill or remove it")
        for recording in recordings:
            files[split_of.get(f"{word}/{recording.name}", "train")][word].append(recording)
    if config.protocol == "all":
        labels = {word: number for number, word in enumerate(words)}
        splits = {s: tuple(Example(f, labels[w]) for w in words for f in files[s][w]) for s in SPLITS}
        return checked(CorpusIndex(tuple(words), splits, noises), str(root))
    return checked(_twelve_classes(config, root, words, files, noises, seed), str(root))


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
            raise DataError(f"{root / NOISE_FOLDER}: no .wav files for {SILENCE}; add some or set data.silence_percent = 0")
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
