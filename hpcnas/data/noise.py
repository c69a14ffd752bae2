"""A corpus' own recordings of background noise: for augmentation, and as the class of silence.

Silence of two splits never comes from one stretch. A recording that holds three windows or more is divided in time: the first
three fifths are for training, then one for validation and one for the test, in whole windows and at least one each. Shorter
ones go whole to train, validation, test, train, train, and so on in turn, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio, finding, problems
from hpcnas.data.corpus import NO_LABEL, SPLITS, DataConfig, Example
from hpcnas.data.finding import Unused
from hpcnas.data.problems import Problem
from hpcnas.data.spelling import key_of
from hpcnas.data.splitting import share_of

NOISE_FOLDER = "_background_noise_"
"""As Speech Commands calls it, in every layout."""
TURNS = ("train", "validation", "test", "train", "train")
"""Splits of recordings that are too short to be divided."""


def recordings(root: Path, config: DataConfig, unused: Unused) -> tuple[Example, ...]:
    """Those below ``root`` that can be read, whole; raises DataError for others, unless they are to be skipped."""
    folder = root / NOISE_FOLDER
    whole: list[Example] = []
    bad: list[Problem] = []
    for path in finding.recordings(folder, unused, bad) if folder.is_dir() else ():
        try:
            whole.append(Example(path, NO_LABEL, 0.0, audio.duration_s(path)))
        except DataError as error:
            bad.append(problems.of(path, error))
    problems.settle(bad, config.on_bad_file)
    return tuple(whole)


def divided(noise: Sequence[Example], window_s: float) -> dict[str, tuple[Example, ...]]:
    """Which parts of the recordings each split takes its silence from; a split may have none if they are few and short."""
    parts: dict[str, list[Example]] = {split: [] for split in SPLITS}
    short = 0
    for whole in noise:
        windows = int(whole.length_s / window_s + 1e-6)
        if windows < 3:
            parts[TURNS[short % len(TURNS)]].append(whole)
            short += 1
            continue
        held_out = max(1, windows // 5) * window_s
        validation_s, test_s = (windows * window_s - times * held_out for times in (2, 1))
        for split, start_s, end_s in zip(SPLITS, (0.0, validation_s, test_s), (validation_s, test_s, whole.length_s)):
            parts[split].append(Example(whole.path, NO_LABEL, start_s, end_s - start_s))
    return {split: tuple(of_split) for split, of_split in parts.items()}


def silence(root: Path, parts: Sequence[Example], split: str, count: int, label: int, window_s: float) -> list[Example]:
    """``count`` windows of noise at any volume, from a split's parts in turn; where they begin is a hash of their names."""
    examples = []
    for number in range(count):
        part = parts[number % len(parts)]
        key = f"{key_of(part.path.relative_to(root).as_posix())} {split} {number}"
        spare_s = max(0.0, part.length_s - window_s)
        start_s = part.start_s + spare_s * share_of(f"{key} start")
        examples.append(Example(part.path, label, start_s, gain=share_of(f"{key} gain")))
    return examples


def ensure_divisible(root: Path, parts: Mapping[str, Sequence[Example]], window_s: float) -> None:
    """Raise DataError unless every split has silence of its own."""
    if empty := [split for split in SPLITS if not parts[split]]:
        raise DataError(
            f"{root / NOISE_FOLDER}: leaves no silence for {' and '.join(empty)}, as splits share none; have three recordings "
            f"or one of {3 * window_s:g} s, or set data.silence_percent = 0"
        )
