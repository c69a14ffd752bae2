"""The index of a large corpus in one file, mapped: some tens of bytes a recording, however many ranks look at it.

To make it again means to open every recording, for its length. So it is kept, with what it was made of: as long as no folder
has other entries, no list other contents, and a thousand recordings are what they were, it is taken for what it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np

from hpcnas.core.corpus_identity import MEMBER, PARTS, CorpusIdentity
from hpcnas.data import audio, listed
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, Kept
from hpcnas.data.inside import Bytes

FORMAT = 2
LARGE = 100_000
"""Recordings from which on an index is kept; the files of smaller corpora are all asked for their sizes and times anyway."""
LOOKED_AT = 1000
"""Recordings whose size and time are compared, evenly spread."""
USER_BLOCK = 512
"""Bytes at the beginning of the file, for a checksum of the others."""
_NUMBERS = ("start_s", "length_s", "spoken_s", "gain")
_STRETCH = ("start", "size")
"""Of what is in a larger file."""

Holder = tuple[str, bool]
"""A folder of recordings, or a file that they are in; whether it is a file."""


@dataclass(frozen=True)
class Place:
    """A file or folder that an index was made of."""

    path: str
    changed_ns: int
    size: int
    """-1: of a folder, whose entries alone count."""

    @classmethod
    def of(cls, path: str) -> Place:
        """As it is; raises OSError."""
        found = os.stat(path)
        return cls(path, found.st_mtime_ns, -1 if os.path.isdir(path) else found.st_size)

    @property
    def is_as_it_was(self) -> bool:
        try:
            return Place.of(self.path) == self
        except OSError:
            return False


def can_hold(index: CorpusIndex) -> bool:
    """Whether all recordings are files of their own, or stretches of larger ones, known by their paths."""
    return not any(one.name or not isinstance(one.inside, Bytes | None) for part in _parts(index) for one in part)


def places(index: CorpusIndex, data: DataConfig) -> list[Place]:
    """What the index depends on: folders of recordings and those above them, files beside these and one folder further down
    that are no recordings and may be lists, manifests, and some of the recordings."""
    recordings = [os.fspath(example.file) for part in _parts(index) for example in _spread(part)]
    recordings += {os.fspath(example.file) for part in _parts(index) for example in part if example.inside}
    own = {os.path.dirname(example.file) for part in _parts(index) for example in part}
    roots = [os.fspath(Path(data.path).expanduser())] if data.path else []
    manifests = [os.fspath(path) for name in data.manifests for path in listed.expanded(name)]
    roots += [os.path.dirname(name) for name in manifests]
    above = {folder for root in roots for start in (root, *own) for folder in _up_to(root, start)} - own
    beside = {entry for folder in above for entry in _entries(folder)}
    made = os.path.realpath(cache_folder(data.cache) / "features")  # changes with every index that is kept
    below = {folder for folder in beside if os.path.isdir(folder) and os.path.realpath(folder) != made} - own - above
    beside |= {entry for folder in below for entry in _entries(folder)}
    lists = {entry for entry in beside if not entry.lower().endswith(audio.SUFFIXES) and os.path.isfile(entry)}
    return [Place.of(path or os.curdir) for path in sorted({*recordings, *own, *above, *below, *lists, *manifests})]


def _parts(index: CorpusIndex) -> Sequence[Sequence[Example]]:
    return (*index.splits.values(), index.noise)


def _spread(examples: Sequence[Example]) -> Iterator[Example]:
    return (examples[row] for row in np.linspace(0, len(examples) - 1, min(len(examples), LOOKED_AT)).astype(int).tolist())


def _up_to(root: str, folder: str) -> Iterator[str]:
    """``folder`` and those above it, up to ``root``; none if it is not below."""
    while folder == root or folder.startswith(root + os.sep):
        yield folder
        folder = os.path.dirname(folder)


def _entries(folder: str) -> list[str]:
    with os.scandir(folder or os.curdir) as entries:
        return [entry.path for entry in entries if not entry.name.startswith(".")]


def write(path: Path, index: CorpusIndex, fingerprint: str, identity: CorpusIdentity, made_of: Sequence[Place]) -> None:
    """Write the file, but for its checksum."""
    parts: dict[str, Sequence[Example]] = {**index.splits, "noise": index.noise}
    examples = [example for part in PARTS for example in parts[part]]
    holders: dict[Holder, int] = {}
    names, held_by = [], np.empty(len(examples), np.uint32)
    stretches = np.zeros((len(_STRETCH), len(examples)), np.int64)
    for row, example in enumerate(examples):
        holder, name = _held(example)
        held_by[row] = holders.setdefault(holder, len(holders))
        names.append(os.fsencode(name))
        if isinstance(example.inside, Bytes):
            stretches[:, row] = [getattr(example.inside, key) for key in _STRETCH]
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = fingerprint
        file["about"] = _bytes(
            {
                "class_names": list(index.class_names),
                "counts": [len(parts[part]) for part in PARTS],
                "holders": list(holders),
                "places": [[place.path, place.changed_ns, place.size] for place in made_of],
                "identity": {
                    "class_names": list(identity.class_names),
                    "drawn": list(identity.drawn),
                    "contents": {str(name): digest for name, digest in identity.contents.items()},
                    "root": identity.root,
                },
            }
        )
        file["holder"] = held_by
        file["names"] = np.frombuffer(b"".join(names), np.uint8)
        file["ends"] = np.cumsum([len(name) for name in names], dtype=np.uint64)
        file["label"] = np.array([example.label for example in examples], np.int16)
        numbers = {key: np.array([getattr(example, key) for example in examples]) for key in _NUMBERS}
        for key, values in (*numbers.items(), *zip(_STRETCH, stretches)):
            file[key] = values[:1] if len(values) and (values == values[0]).all() else values
        file["members"] = np.ascontiguousarray(identity.members).view(np.uint8)


def load(path: Path) -> CorpusIndex:
    """The index in a file that is intact; nothing of it is read that is not asked for."""
    with h5py.File(path, "r", locking=False) as file:
        about, fingerprint = _told(file["about"][:]), str(file.attrs["fingerprint"])
        members = file["members"][:].view(MEMBER)
        columns = {key: _mapped(path, file[key]) for key in ("holder", "names", "ends", "label", *_NUMBERS, *_STRETCH)}
    ends = np.cumsum(about["counts"]).tolist()
    parts = {
        part: MappedExamples(about["holders"], columns, end - n, end) for part, end, n in zip(PARTS, ends, about["counts"])
    }
    told = about["identity"]
    contents = {int(name): digest for name, digest in told["contents"].items()}
    identity = CorpusIdentity(tuple(told["class_names"]), tuple(told["drawn"]), {}, members, contents, told["root"])
    splits = {split: parts[split] for split in SPLITS}
    index = CorpusIndex(tuple(about["class_names"]), splits, tuple(parts["noise"]))
    object.__setattr__(index, "kept", Kept(path, fingerprint, identity))  # of this index alone: no copy takes it over
    return index


def made_of(path: Path) -> list[Place]:
    """What the index in a file that is intact depends on; of another format nothing can be told, and nothing is as it was."""
    with h5py.File(path, "r", locking=False) as file:
        if file.attrs["format"] != FORMAT:
            return [Place("", 0, 0)]
        return [Place(*place) for place in _told(file["about"][:])["places"]]


@dataclass(frozen=True)
class MappedExamples(Sequence[Example]):
    """Examples ``first`` to ``last`` of a file, each made when it is asked for."""

    holders: Sequence[Holder]
    columns: Mapping[str, np.ndarray]
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @overload
    def __getitem__(self, row: int) -> Example: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Example]: ...

    def __getitem__(self, row: int | slice) -> Example | Sequence[Example]:
        if isinstance(row, slice):
            first, last, step = row.indices(len(self))
            if step == 1:
                return replace(self, first=self.first + first, last=self.first + max(first, last))
            return [self[one] for one in range(first, last, step)]
        at = self.first + (row if row >= 0 else len(self) + row)
        if not self.first <= at < self.last:
            raise IndexError(row)
        ends, columns = self.columns["ends"], self.columns
        name = columns["names"][int(ends[at - 1]) if at else 0 : int(ends[at])].tobytes()
        holder, is_file = self.holders[columns["holder"][at]]
        values = (columns[key][at if len(columns[key]) > 1 else 0] for key in (*_NUMBERS, *_STRETCH))
        start_s, length_s, spoken_s, gain, start, size = (value.item() for value in values)
        inside = Bytes(Path(holder), os.fsdecode(name), start, size) if is_file else None
        path = inside.path if inside else Path(holder, os.fsdecode(name))
        return Example(path, int(columns["label"][at]), start_s, length_s, spoken_s, gain, inside=inside)


def _held(example: Example) -> tuple[Holder, str]:
    """What a recording is in, and its name there."""
    if example.inside:
        return (os.fspath(example.inside.file), True), example.inside.name
    folder, name = os.path.split(example.path)
    return (folder, False), name


def _mapped(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    if 0 in dataset.shape:
        return np.zeros(dataset.shape, dataset.dtype)
    return np.memmap(path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)


def _bytes(told: Mapping[str, Any]) -> np.ndarray:
    """As JSON, in which names that are no text survive."""
    return np.frombuffer(json.dumps(told).encode("ascii"), np.uint8)


def _told(data: np.ndarray) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(data.tobytes())
    return told


def are_as_they_were(found: Iterable[Place]) -> bool:
    return all(place.is_as_it_was for place in found)
