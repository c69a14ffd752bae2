"""The folder layout and protocols of Google Speech Commands (Warden, 2018, arXiv:1804.03209).

``word/speaker_nohash_n.wav`` (or ``.flac`` ...), ``validation_list.txt``, ``testing_list.txt``, ``_background_noise_/*.wav``.
Where there are no lists, each speaker goes to one split by a hash of the name, as the corpus itself was divided.

Protocol ``12`` is that of the published benchmarks: keywords, other words as ``_unknown_``, background noise as ``_silence_``.
Folders of these two names, as the published test set has them, hold recordings of the two classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import finding, lists, noise, problems
from hpcnas.data.checking import checked
from hpcnas.data.corpus import SILENCE, SPLITS, UNKNOWN, CorpusIndex, DataConfig, Example
from hpcnas.data.finding import Unused
from hpcnas.data.noise import NOISE_FOLDER
from hpcnas.data.problems import Problem
from hpcnas.data.spelling import composed
from hpcnas.data.splitting import divided, drawn

PADDING_COUNTS = True
"""As in the published protocols, where every example is a whole second."""

Files = Mapping[str, Mapping[str, Sequence[Path]]]
"""Recordings by split and word; the two classes' own folders count as words."""


def index(config: DataConfig) -> CorpusIndex:
    """All examples below ``config.path``; which unknown words and stretches of noise are taken is the same in every run.

    Raises:
        DataError: for a missing folder, word or second list, or a word folder without recordings.
    """
    root = Path(config.path).expanduser()
    unused = Unused()
    words = _words(root, config, unused)
    keywords = _keywords(config, root, words) if config.protocol == "12" else ()
    noises = noise.recordings(root, config, unused)
    files: dict[str, dict[str, list[Path]]] = {split: {word: [] for word in words} for split in SPLITS}
    recordings = [(word, path) for word, paths in words.items() for path in paths]
    for split, word, path in divided(root, recordings, config, across_classes=True):
        files[split][word].append(path)
    if config.protocol == "all":
        splits = {s: tuple(Example(f, label) for label, w in enumerate(words) for f in files[s][w]) for s in SPLITS}
        found = CorpusIndex(tuple(words), splits, noises)
    else:
        found = _twelve_classes(config, root, keywords, files, noises, unused)
    unused.say(root)
    return checked(found, str(root), config)


def says_splits(config: DataConfig) -> bool:
    """Whether lists tell which recordings are for the test."""
    return lists.there(Path(config.path).expanduser())


def _words(root: Path, config: DataConfig, unused: Unused) -> dict[str, list[Path]]:
    """The recordings of each word, by the word."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.path to a corpus in the Speech Commands layout")
    own = (UNKNOWN, SILENCE) if config.protocol == "12" else ()
    words: dict[str, list[Path]] = {}
    bad: list[Problem] = []
    left_out = []
    for folder in finding.folders(root):
        if folder.name.startswith(("_", ".")) and folder.name not in own:
            left_out.append(folder)
            continue
        words.setdefault(composed(folder.name), []).extend(finding.of_class(folder, unused, bad))
    finding.outside(root, [folder for folder in left_out if folder.name != NOISE_FOLDER], unused)
    problems.settle(bad, config.on_bad_file)
    if (count := len(words.keys() - {*own})) < (1 if config.all_is_test else 2):
        raise DataError(f"{root}: holds {count} word folders; a corpus in the Speech Commands layout has one per word")
    return dict(sorted(words.items()))


def _twelve_classes(
    config: DataConfig, root: Path, keywords: Sequence[str], files: Files, noises: tuple[Example, ...], unused: Unused
) -> CorpusIndex:
    """The keywords, what is drawn of other words, and silence; where all is test, all there is of both."""
    others = [word for word in files["test"] if word not in (*keywords, SILENCE)]
    classes = {k: {s: [Example(f, label) for f in files[s][k]] for s in SPLITS} for label, k in enumerate(keywords)}
    counts = {split: sum(len(examples[split]) for examples in classes.values()) for split in SPLITS}
    drawn_of = f"of other words (data.unknown_percent = {config.unknown_percent:g})"
    unknown: dict[str, list[Example]] = {}
    for split in SPLITS:
        pool = [path for word in others for path in files[split][word]]
        wanted = len(pool) if config.all_is_test else math.ceil(counts[split] * config.unknown_percent / 100)
        unknown[split] = [Example(path, len(classes)) for path in drawn(root, pool, wanted)]
        unused.add(drawn_of, len(pool) - len(unknown[split]), is_loss=False)
    if others and (config.unknown_percent or config.all_is_test):
        classes[UNKNOWN] = unknown
    if SILENCE in files["test"]:
        silent = {split: [Example(path, len(classes)) for path in files[split][SILENCE]] for split in SPLITS}
        if config.silence_percent or config.all_is_test:
            classes[SILENCE] = silent
        else:
            unused.add(f"in {SILENCE} (data.silence_percent = 0)", sum(map(len, silent.values())), is_loss=False)
    elif config.silence_percent and (noises or not config.all_is_test):
        parts = _silence_parts(config, root, noises)
        wanted_of = {split: math.ceil(counts[split] * config.silence_percent / 100) for split in SPLITS}
        classes[SILENCE] = {
            split: noise.silence(root, parts[split], split, wanted_of[split], len(classes), config.window_s) for split in SPLITS
        }
        noises = parts["train"]
    splits = {split: tuple(one for examples in classes.values() for one in examples[split]) for split in SPLITS}
    return CorpusIndex(tuple(classes), splits, noises)


def _keywords(config: DataConfig, root: Path, words: Iterable[str]) -> list[str]:
    """Those of the configuration; where all is test, those that are there."""
    words = [word for word in words if word not in (UNKNOWN, SILENCE)]
    keywords = [composed(keyword) for keyword in config.keywords]
    present = [keyword for keyword in keywords if keyword in words]
    if not present or (len(present) < len(keywords) and not config.all_is_test):
        absent = next(keyword for keyword in keywords if keyword not in words)
        raise DataError(f'{root}: no folder for keyword "{absent}"; set data.keywords (found: {", ".join(words)})')
    return present


def _silence_parts(config: DataConfig, root: Path, noises: tuple[Example, ...]) -> Mapping[str, tuple[Example, ...]]:
    """Of which noise the silence of each split is made."""
    if config.all_is_test:
        return {"train": (), "validation": (), "test": noises}
    if not noises:
        raise DataError(f"{root / NOISE_FOLDER}: no recordings for {SILENCE}; add some or set data.silence_percent = 0")
    parts = noise.divided(noises, config.window_s)
    noise.ensure_divisible(root, parts, config.window_s)
    return parts
