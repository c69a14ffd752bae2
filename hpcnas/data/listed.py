"""Corpora that list their recordings: what all such layouts have in common, whatever the lists look like.

A layout says where its lists are and reads them into entries. Here these get their splits, as they are named or by their
speakers, and become a corpus, or one summary of what cannot be used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import audio, headers, noise, problems
from hpcnas.data.checking import checked
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, stretch_s
from hpcnas.data.finding import Unused
from hpcnas.data.headers import Length
from hpcnas.data.inside import Inside, Source, path_of
from hpcnas.data.language_folders import SPLIT_FOLDERS
from hpcnas.data.problems import SHOWN, Problem, printable
from hpcnas.data.spelling import below, composed
from hpcnas.data.splitting import source_of, split_of

logger = logging.getLogger(__name__)

LABEL_COLUMNS = ("label", "command", "language", "lang", "locale", "lang_id")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk", "spk_id", "client_id")
OVERSHOOT_S = 0.5
"""So far a stretch may reach behind its recording's end, since times in lists are rounded; the same as Kaldi's."""
SENTENCES = 50
"""More classes than this, of which most are of one recording alone, are no classes."""


@dataclass(frozen=True)
class Entry:
    """A recording in a list, or a stretch of one, that can be used."""

    label: str
    source: Path | Inside
    offset_s: float = 0.0
    duration_s: float = 0.0
    """0: to the recording's end."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """All that the list tells, by column."""
    length: tuple[float, int] | None = None
    """Of the recording, in seconds, and its rate, if they are known already."""

    @property
    def speaker(self) -> str:
        """Empty if the list does not tell."""
        return speaker_in(self.fields)


@dataclass(frozen=True)
class Layout:
    """How corpora of one kind are kept."""

    name: str
    what: str
    """What holds a split."""
    find: Callable[[Path], Sequence[Path]]
    """The lists at or below a path, in their order."""
    read: Callable[[Path, DataConfig, list[Problem]], Iterator[Entry]]
    """The entries of one of these; the last argument receives what cannot be used."""

    def index(self, config: DataConfig) -> CorpusIndex:
        """All recordings of the lists in ``config.manifests``, or at or below ``config.path``.

        Raises:
            DataError: for a missing list, entries or recordings that cannot be used, a class that is missing in a split.
        """
        bad: list[Problem] = []
        entries = self._entries(config, bad)
        first = Path(config.path or config.manifests[0]).expanduser()
        return indexed(entries, bad, first if first.is_dir() else first.parent, str(first), config)

    def fields_of(self, config: DataConfig, split: str) -> Mapping[tuple[Path, float], Mapping[str, object]]:
        """What the lists tell of a split's recordings, by recording and where in it an example begins, in seconds."""
        return by_place(self._entries(config, []).get(split, ()))

    def says_splits(self, config: DataConfig) -> bool:
        """Whether there are lists of their own for each split."""
        return config.all_is_test or "" not in self._places(config)

    def _entries(self, config: DataConfig, bad: list[Problem]) -> dict[str, list[Entry]]:
        places = self._places(config)
        entries = {split: [one for place in of for one in self.read(place, config, bad)] for split, of in places.items()}
        return divided(entries[""], config, str(places[""][0])) if "" in entries else entries

    def _places(self, config: DataConfig) -> dict[str, list[Path]]:
        """The lists of each split; those of all as ``""`` where nothing tells which split one is of."""
        whole = "test" if config.all_is_test else ""
        if config.manifests:
            if len(config.manifests) == 1:
                return {whole: self._found(config.manifests[0], "data.manifests")}
            if config.all_is_test or len(config.manifests) != len(SPLITS):
                raise ConfigError(
                    f"data.manifests = {list(config.manifests)}: must name three, for train, validation and test, or one"
                )
            found = {split: self._found(name, "data.manifests") for split, name in zip(SPLITS, config.manifests)}
            for one, other in combinations(found, 2):
                if both := {place.resolve() for place in found[one]} & {place.resolve() for place in found[other]}:
                    raise ConfigError(f"data.manifests: {min(both)} is for {one} and for {other}; each split needs its own")
            return found
        if not config.path:
            raise ConfigError(f'data.name = "{self.name}": set data.path, or data.manifests, to {self.what}')
        places = self._found(config.path, "data.path")
        named = {place: split_in(place, Path(config.path).expanduser()) for place in places}
        if config.all_is_test or not any(named.values()):
            return {whole: places}
        unused = Unused()
        unused.add("whose names tell no split", sum(not split for split in named.values()))
        unused.say(Path(config.path))
        by_split = {split: [place for place in places if named[place] == split] for split in SPLITS}
        if missing := [split for split, of in by_split.items() if not of]:
            there = " and ".join(split for split, of in by_split.items() if of)
            raise DataError(
                f"{config.path}: has {there} by their names, and no {' and no '.join(missing)}; name three by data.manifests, "
                "or one that is to be divided"
            )
        return by_split

    def _found(self, name: str, key: str) -> list[Path]:
        found: dict[Path, None] = {}
        for path in expanded(name):
            if not path.exists():
                raise DataError(f'{key}: "{path}": no such file or folder; set it to {self.what}')
            found.update(dict.fromkeys(self.find(path)))
        if not found:
            raise DataError(f'{key}: "{name}": has nothing to read; set it to {self.what}')
        return [*found]


def indexed(
    entries: Mapping[str, Sequence[Entry]], bad: list[Problem], root: Path, where: str, config: DataConfig
) -> CorpusIndex:
    """The corpus of these entries; ``bad`` has what could not be used before; ``root`` may have noise for augmentation."""
    names = tuple(sorted({entry.label for of_split in entries.values() for entry in of_split}))
    count = sum(map(len, entries.values()))
    if len(names) > max(SENTENCES, count / 2):
        raise DataError(
            f"{where}: {count} recordings have {len(names)} different labels, first {', '.join(names[:SHOWN])}; name what "
            "holds their classes by data.label_column"
        )
    numbers = {name: number for number, name in enumerate(names)}
    lengths = _Lengths([entry for of_split in entries.values() for entry in of_split])
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, of_split in entries.items():
        for entry in of_split:
            try:
                examples[split].append(_example(entry, numbers[entry.label], config, lengths))
            except DataError as error:
                bad.append(problems.of(path_of(entry.source), error))
    problems.settle(bad, config.on_bad_file)
    _say_shared(entries, where)
    if text := problems.remarks(lengths.odd):
        logger.warning("%s: %s", where, text)
    splits = {split: tuple(examples[split]) for split in SPLITS}
    held_out = {example.path.resolve() for split in ("validation", "test") for example in splits[split] if not example.inside}
    unused = Unused()
    noises = noise.recordings(root, config, unused)
    for_training = tuple(one for one in noises if one.path.resolve() not in held_out)
    unused.add("of background noise that manifests hold out", len(noises) - len(for_training), is_loss=False)
    unused.say(root)
    return checked(CorpusIndex(names, splits, for_training), where, config)


def by_place(entries: Sequence[Entry]) -> Mapping[tuple[Path, float], Mapping[str, object]]:
    """What lists tell, by recording and offset; the first of two entries counts."""
    return {(path_of(entry.source), entry.offset_s): entry.fields for entry in reversed(entries)}


class _Lengths:
    """Of recordings; each is asked for once, however many stretches are taken from it."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._known: dict[Source, Length | DataError] = {e.source: e.length for e in entries if e.length}
        unknown = [*{entry.source: None for entry in entries if entry.source not in self._known}]
        self._known |= zip(unknown, headers.lengths(unknown))

    def of(self, entry: Entry) -> float:
        """In seconds; raises DataError for a recording that cannot be read."""
        return headers.known(self._known[entry.source])[0]

    @cached_property
    def odd(self) -> list[Problem]:
        """Recordings with less than the rate that features are made at, where others have that."""
        rates = {source: length[1] for source, length in self._known.items() if not isinstance(length, DataError)}
        if max(rates.values(), default=0) < audio.RATE:
            return []
        return [
            problems.odd(path_of(source), f"{rate} samples a second, where others have {audio.RATE} or more")
            for source, rate in rates.items()
            if rate < audio.RATE
        ]


def _example(entry: Entry, label: int, config: DataConfig, lengths: _Lengths) -> Example:
    path = path_of(entry.source)
    left_s = lengths.of(entry) - entry.offset_s
    if left_s <= 0:
        raise DataError(f"{path}: ends before its offset")
    if entry.duration_s > left_s + OVERSHOOT_S:
        raise DataError(f"{path}: ends before a stretch that is listed")
    duration_s = min(left_s, entry.duration_s or left_s)
    length_s = stretch_s(duration_s, config)
    inside = None if isinstance(entry.source, Path) else entry.source
    return Example(path, label, entry.offset_s, length_s, min(duration_s, length_s), inside=inside)


def divided(entries: Sequence[Entry], config: DataConfig, where: str) -> dict[str, list[Entry]]:
    """Entries by split, each speaker in one: as the list names them, or else the recordings' names."""
    source = source_of(config)
    splits: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    nameless = 0
    for entry in entries:
        path = path_of(entry.source)
        who = entry.speaker or source(path)
        nameless += not who
        # Stretches of one recording stay together, whatever is said in them.
        key = who or (path.name if entry.offset_s or entry.duration_s else f"{entry.label}/{path.name}")
        splits[split_of(key, config)].append(entry)
    if nameless:
        logger.warning(
            "%s: %d of %d entries do not tell their speaker or source, and are divided by recording, so that a speaker may be "
            "in several splits; speakers in the list, or data.source_pattern, would prevent that",
            where, nameless, len(entries),
        )  # fmt: skip
    return splits


def _say_shared(entries: Mapping[str, Sequence[Entry]], where: str) -> None:
    """Warn of speakers whom two splits have."""
    splits: dict[str, set[str]] = {}
    for split, of_split in entries.items():
        for entry in of_split:
            if speaker := entry.speaker:
                splits.setdefault(speaker, set()).add(split)
    if shared := sorted(speaker for speaker, of in splits.items() if len(of) > 1):
        logger.warning(
            "%s: %d of %d speakers are in several splits, first %s; figures say little of others then",
            where, len(shared), len(splits), ", ".join(map(printable, shared[:SHOWN])),
        )  # fmt: skip


def speaker_in(fields: Mapping[str, object]) -> str:
    """Who speaks, by the first of the usual columns that tells; empty if none does."""
    return next((str(value).strip() for column in SPEAKER_COLUMNS if (value := fields.get(column)) not in (None, "")), "")


def label_of(text: str) -> str:
    """A class name as it is used; raises DataError."""
    label = composed(text)
    if not label.isprintable():
        raise DataError(f"has a label with control characters ({label!r})")
    return label


def split_in(place: Path, root: Path) -> str:
    """The split that a name below ``root`` tells; empty if it tells none or several."""
    for part in reversed(place.relative_to(root).parts if place != root else ()):
        told = {SPLIT_FOLDERS[word] for word in re.split("[^a-z]+", part.lower()) if word in SPLIT_FOLDERS}
        if len(told) == 1:
            return told.pop()
    return ""


def expanded(name: str) -> list[Path]:
    """The paths that a pattern means, as shells and NeMo (``_OP_0..9_CL_``) write them: ``train-{000..127}.tar``, ``*.tar``."""
    name = name.replace("_OP_", "{").replace("_CL_", "}")
    if found := re.search(r"\{(\d+)\.\.(\d+)\}", name):
        first, last = found.groups()
        width = len(first) if first.startswith("0") else 0
        numbers = (f"{number:0{width}d}" for number in range(int(first), int(last) + 1))
        return [path for number in numbers for path in expanded(f"{name[: found.start()]}{number}{name[found.end() :]}")]
    path = Path(name).expanduser()
    if any(mark in path.name for mark in "*?[") and not path.exists():
        return sorted(path.parent.glob(path.name), key=natural) or [path]
    return [path]


def natural(path: Path) -> list[tuple[bool, int, str]]:
    """An order in which number 2 comes before number 10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", str(path))]


class Places:
    """Finds files that a list names by paths of the machine and folder where it was written."""

    def __init__(self, own: Path, config: DataConfig) -> None:
        """``own``: folder of the list. Paths start there, or at the nearest folder above from which they lead to a file."""
        if config.manifests and config.path:
            self._bases = [Path(config.path).expanduser()]
        else:
            self._bases = [(own := own.absolute()), *own.parents]

    def of(self, name: str) -> Path:
        """Raises DataError for a file that is nowhere."""
        for number, base in enumerate(self._bases):
            if path := below(base, name):
                self._bases.insert(0, self._bases.pop(number))
                return path
        raise DataError("names a file that does not exist")
