"""Hours of audio without keywords (speech, music, a home), in which false alarms are counted.

``data.negatives`` names folders, lists as ``manifest`` reads them, or ``builtin``. Each recording is in one part, by lists in
the folder or else by a hash of its speaker or path, so that further recordings move no other one. Training hears of them only
where the configuration says so, and of those of its own part.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import audio, finding, lists, manifest, problems, synthetic_negatives
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example
from hpcnas.data.finding import Unused
from hpcnas.data.listed import LABEL_COLUMNS
from hpcnas.data.problems import Problem
from hpcnas.data.rows import rows
from hpcnas.data.spelling import below, folded, key_of, words_of
from hpcnas.data.splitting import share_of, source_of
from hpcnas.data.surroundings import ensure_apart

TEST, HELD_OUT = 0.5, 0.8
"""Hashes below the first are for the test, below the second for validation; rates of false alarms need hours."""
TEXT_COLUMNS = ("text", "sentence", "transcript")
"""Of a manifest, with what is said."""


BUILTIN = "builtin"
"""Among ``data.negatives``: synthesised on first use."""


@dataclass(frozen=True)
class Negative:
    """A recording without keywords, or a stretch of one."""

    path: Path
    start_s: float = 0.0
    end_s: float = inf
    """At its end, if it is shorter."""


def index(config: DataConfig, corpus: CorpusIndex, keywords: Collection[str]) -> Mapping[str, tuple[Negative, ...]]:
    """The recordings of each part; all are for the test if ``data.all_is_test``.

    Args:
        corpus: of which no recording may be among them.
        keywords: which none may hold, as far as names and labels tell.

    Raises:
        DataError: for a folder without recordings, one that is no audio, a keyword, or a recording of the corpus.
    """
    bad: list[Problem] = []
    parts: dict[str, list[Negative]] = {split: [] for split in SPLITS}
    seen: set[Negative] = set()
    for place in _places(config, keywords):
        given = _listed(place, config, keywords, bad) if place.is_file() else _found(place, keywords, bad)
        for split, one in [("test", one) for one in given] if config.all_is_test else _divided(place, given, config):
            try:
                if audio.duration_s(one.path) <= one.start_s:
                    raise DataError("ends before its offset")
                same = replace(one, path=Path(os.path.realpath(one.path)))
                parts[split] += [] if same in seen else [one]
                seen.add(same)
            except DataError as error:
                bad.append(problems.of(one.path, error))
    problems.settle(bad, config.on_bad_file)
    ensure_apart("data.negatives", corpus, [one.path for part in parts.values() for one in part])
    return {split: tuple(part) for split, part in parts.items()}


def _places(config: DataConfig, keywords: Collection[str]) -> Iterator[Path]:
    for name in config.negatives:
        if name != BUILTIN:
            yield Path(name).expanduser()
            continue
        yield builtin(config, keywords)
        if config.learns_negatives:
            yield builtin(config, keywords, for_training=True)


def builtin(config: DataConfig, keywords: Collection[str], for_training: bool = False) -> Path:
    """The folder of the built-in ones, made first if need be."""
    return synthetic_negatives.folder(keywords, config.negative_hours, config.cache, for_training)


def windows(recordings: Sequence[Negative], count: int, window_s: float, label: int) -> list[Example]:
    """So many windows, each somewhere in its own of as many equal parts of the audio; where, is a hash of its number."""
    lengths_s = [end_of(one) - one.start_s for one in recordings]
    edges_s = np.cumsum([0.0, *lengths_s])
    found = []
    for number in range(count):
        at_s = edges_s[-1] * (number + share_of(f"window {number} of {count}")) / count
        row = int(np.searchsorted(edges_s, at_s, "right")) - 1
        share = float(at_s - edges_s[row]) / lengths_s[row]
        start_s = recordings[row].start_s + share * max(0.0, lengths_s[row] - window_s)
        found.append(window(recordings[row].path, label, start_s))
    return found


def end_of(one: Negative) -> float:
    """Where it ends in its recording, in seconds; raises DataError."""
    return min(one.end_s, audio.duration_s(one.path))


def window(path: Path, label: int, start_s: float) -> Example:
    """One, known by the last two parts of the recording's path."""
    return Example(path, label, start_s, name=f"{key_of('/'.join(path.parts[-2:]))}, of data.negatives")


def part(parts: Mapping[str, tuple[Negative, ...]], split: str) -> tuple[Negative, ...]:
    """One that must not be empty; raises DataError."""
    if not parts[split]:
        count = sum(map(len, parts.values()))
        raise DataError(
            f"data.negatives: none of {count} recording(s) falls into the {split} part; have more of them, cut long ones, or "
            f"divide a folder by {' and '.join(lists.LISTS.values())}"
        )
    return parts[split]


def samples(one: Negative) -> Iterator[np.ndarray]:
    """What is to be heard of it, block by block at ``audio.RATE``; raises DataError."""
    first, last, position = one.start_s * audio.RATE, one.end_s * audio.RATE, 0
    for block in audio.stream(one.path):
        begin, position = position, position + len(block)
        piece = block[round(max(0, first - begin)) : round(min(last, position)) - begin]
        if len(piece):
            yield piece
        if position >= last:
            return


def _found(folder: Path, keywords: Collection[str], bad: list[Problem]) -> list[Negative]:
    """All recordings below a folder."""
    if not folder.is_dir():
        raise DataError(f'data.negatives: "{folder}": no such folder or list')
    unused = Unused()
    try:
        paths = finding.of_class(folder, unused, bad)
    except DataError as error:
        raise DataError(f"data.negatives: {error}") from error
    unused.say(folder)
    spoken = {folded(keyword) for keyword in keywords}
    for path in paths:
        names = [folder.resolve().name, *path.relative_to(folder).parts[:-1]]
        if said := next((name for name in names if folded(name) in spoken), None):
            raise DataError(f'data.negatives: {path}: by its folder says the keyword "{said}"; leave it out or rename it')
    return [Negative(path) for path in paths]


def _listed(path: Path, config: DataConfig, keywords: Collection[str], bad: list[Problem]) -> list[Negative]:
    """All recordings of a list, which may be stretches of longer ones."""
    if path.suffix.lower() in audio.SUFFIXES:
        return [Negative(path)]
    columns = (config.path_column,) if config.path_column else manifest.PATH_COLUMNS
    labels = (config.label_column,) if config.label_column else LABEL_COLUMNS
    found = []
    for row in rows(path, (columns,)):
        if said := _said(row.fields, labels, keywords):
            raise DataError(f'data.negatives: {path}, {row.where}: says the keyword "{said}"; leave such lines out')
        try:
            if row.problem:
                raise DataError(row.problem)
            recording = below(path.parent, manifest.text_in(row.fields, columns, "path"))
            if recording is None:
                raise DataError("names a file that does not exist")
            start_s, length_s = (manifest.seconds_in(row.fields, column) for column in ("offset", "duration"))
            found.append(Negative(recording, start_s, start_s + length_s if length_s else inf))
        except DataError as error:
            bad.append(Problem(f"{path}, {row.where}", str(error)))
    if not found and not bad:
        raise DataError(f"data.negatives: {path}: lists no recordings")
    return found


def _said(fields: Mapping[str, object], labels: Sequence[str], keywords: Collection[str]) -> str:
    """The keyword that a line's label is, or that its text has among its words; empty if there is none."""
    label = [str(fields[column]) for column in labels if fields.get(column) is not None]
    texts = [str(fields[column]) for column in TEXT_COLUMNS if fields.get(column) is not None]
    for keyword in keywords:
        words = words_of(keyword)
        if any(folded(text) == folded(keyword) for text in label) or any(has_words(text, words) for text in texts):
            return keyword
    return ""


def has_words(text: str, words: Sequence[str]) -> bool:
    """Whether these words follow each other in a text."""
    own = words_of(text)
    return any(own[first : first + len(words)] == [*words] for first in range(len(own)))


def _divided(place: Path, given: Sequence[Negative], config: DataConfig) -> Iterator[tuple[str, Negative]]:
    if place.is_dir() and lists.there(place):
        by_path = {one.path: one for one in given}
        listed = lists.by_lists(place, [("", path) for path in by_path], config.on_bad_file)
        yield from ((split, by_path[path]) for split, _, path in listed)
        return
    source, root = source_of(config), place if place.is_dir() else place.parent
    for one in given:
        share = share_of(source(one.path) or key_of(os.path.relpath(one.path, root)))
        yield "test" if share < TEST else "validation" if share < HELD_OUT else "train", one
