"""Whether a corpus can be trained and judged on: every class in every split, and no sound twice that should be there once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data.corpus import NO_LABEL, SPLITS, CorpusIndex, DataConfig, Example
from hpcnas.data.inside import Inside
from hpcnas.data.problems import SHOWN, printable

logger = logging.getLogger(__name__)

LOOKED_AT = 1 << 16
"""Bytes at the beginning of recordings in which those of one name and size differ, or are the same."""
SLACK_S = 0.001
"""Stretches that share less than this do not overlap: times in lists are rounded."""


def checked(index: CorpusIndex, where: str, config: DataConfig) -> CorpusIndex:
    """The same without repetitions, once it can be trained and judged on, or judged on alone.

    Raises:
        DataError: for a class name that cannot be printed, a single class, an empty split, a class that is missing in one, or
            sound that is in two splits or has two labels.
    """
    if odd := [name for name in index.class_names if not (name.isprintable() and name.strip())]:
        raise DataError(f"{where}: class names must be printable text, unlike {', '.join(map(ascii, odd))}; rename them")
    _say_alike(index.class_names, where)
    for split in ("test",) if config.all_is_test else SPLITS:
        there = {example.label for example in index.splits[split]}
        if not there:
            raise DataError(f"{where}: the {split} split is empty")
        if not config.all_is_test and (absent := [n for label, n in enumerate(index.class_names) if label not in there]):
            raise DataError(f"{where}: the {split} split has no {', '.join(absent)}; every class must be in every split")
    if len(index.class_names) == 1 and not config.all_is_test:
        raise DataError(f"{where}: {index.class_names[0]} is the only class; two at least are needed to tell apart")
    real = _real_names(index)
    _ensure_apart(index, where, config.window_s, real)
    return replace(index, splits={split: _once(index.splits[split], f"{where}, {split} split", real) for split in SPLITS})


def _say_alike(names: Sequence[str], where: str) -> None:
    """Warn of classes that are called the same but for capitals."""
    by_folded: dict[str, list[str]] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), []).append(name)
    if alike := [" and ".join(same) for same in by_folded.values() if len(same) > 1]:
        logger.warning("%s: classes differ in capitals alone: %s; is each a class of its own?", where, "; ".join(alike))


def _real_names(index: CorpusIndex) -> dict[Path, str]:
    """What each recording is called without links. Folders are looked up once: there may be millions of recordings."""
    folders: dict[Path, str] = {}
    names = _names_inside(index)
    for _, example in _all(index):
        if (path := example.path) in names:
            continue
        if (folder := path.parent) not in folders:
            folders[folder] = os.path.realpath(folder)
        names[path] = os.path.realpath(path) if path.is_symlink() else os.path.join(folders[folder], path.name)
    return names


def _names_inside(index: CorpusIndex) -> dict[Path, str]:
    """The same of recordings in larger files. What two splits have under one name, and is the same, goes by the first one's."""
    held: dict[tuple[str, int], list[tuple[str, Inside]]] = {}
    files: dict[Path, str] = {}
    names = {}
    for split, example in _all(index):
        if (inside := example.inside) is None or example.path in names:
            continue
        if inside.file not in files:
            files[inside.file] = os.path.realpath(inside.file)
        names[example.path] = os.path.join(files[inside.file], inside.name)
        held.setdefault((example.path.name, inside.size), []).append((split, inside))
    for alike in held.values():
        if len({split for split, _ in alike}) > 1:
            first: dict[bytes, str] = {}
            for _, inside in sorted(alike, key=lambda one: (str(one[1].file), one[1].order)):
                with inside.open() as recording:
                    digest = blake2b(recording.read(LOOKED_AT)).digest()
                names[inside.path] = first.setdefault(digest, names[inside.path])
    return names


def _once(examples: Sequence[Example], where: str, real: Mapping[Path, str]) -> tuple[Example, ...]:
    """The examples without those that repeat an earlier one: a line that stands twice in a list, say."""
    first: dict[tuple, Example] = {}
    for one in examples:
        first.setdefault((real[one.path], one.label, one.start_s, one.length_s, one.spoken_s, one.gain), one)
    if repeated := len(examples) - len(first):
        logger.warning("%s: %d recording(s) are there more than once, and used once", where, repeated)
    return tuple(first.values())


@dataclass(frozen=True)
class _Stretch:
    """Where an example lies in its recording."""

    path: Path
    start_s: float
    end_s: float
    split: str
    label: int


def _ensure_apart(index: CorpusIndex, where: str, window_s: float, real: Mapping[Path, str]) -> None:
    """Raise DataError for recordings of which two splits, or two classes of one, share a stretch."""
    by_recording: dict[str, list[_Stretch]] = {}
    for split, of in _all(index):
        end_s = of.start_s + (of.spoken_s or of.length_s or window_s)
        by_recording.setdefault(real[of.path], []).append(_Stretch(of.path, of.start_s, end_s, split, of.label))
    leaks: dict[str, str] = {}
    torn: dict[str, str] = {}
    for name, stretches in by_recording.items():
        for one, other in _overlapping(stretches) if len(stretches) > 1 else ():
            if one.label != other.label and NO_LABEL not in (one.label, other.label):
                labels = sorted(index.class_names[stretch.label] for stretch in (one, other))
                torn[name] = f"{printable(str(other.path))} ({' and '.join(labels)})"
            elif one.split != other.split:
                leaks[name] = printable(str(other.path))
    refused = ((torn, "have two labels", "keep one label for each"), (leaks, "are in two splits", "keep each in one"))
    for found, what, way_out in refused:
        if found:
            first = ", ".join([*found.values()][:SHOWN])
            raise DataError(f"{where}: {len(found)} recording(s) {what}, first {first}; {way_out}")


def _all(index: CorpusIndex) -> Iterator[tuple[str, Example]]:
    for split in SPLITS:
        yield from ((split, example) for example in index.splits[split])
    yield from (("train", example) for example in index.noise)


def _overlapping(stretches: Sequence[_Stretch]) -> Iterator[tuple[_Stretch, _Stretch]]:
    """Pairs that overlap and differ in split or label: at least one if there are any."""
    reaching: dict[tuple[str, int], _Stretch] = {}
    """Of each split and label the one that ends last so far."""
    for stretch in sorted(stretches, key=lambda stretch: stretch.start_s):
        key = stretch.split, stretch.label
        for other_key, other in reaching.items():
            if other_key != key and other.end_s - SLACK_S > stretch.start_s:
                yield other, stretch
        if key not in reaching or reaching[key].end_s < stretch.end_s:
            reaching[key] = stretch
