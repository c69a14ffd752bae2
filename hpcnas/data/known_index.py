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

FORMAT = 1
LARGE = 100_000
"""Recordings from which on an index is kept; the files of smaller corpora are all asked for their sizes and times anyway."""
LOOKED_AT = 1000
"""Recordings whose size and time are compared, evenly spread."""
USER_BLOCK = 512
"""Bytes at the beginning of the file, for a checksum of the others."""
_NUMBERS = ("start_s", "length_s", "spoken_s", "gain")


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
    """Whether all recordings are files of their own, known by their paths."""
    return not any(one.inside or one.name for part in (*index.splits.values(), index.noise) for one in part)


def places(index: CorpusIndex, data: DataConfig) -> list[Place]:
    """What the index depends on: folders of recordings and those above them, files beside these and one folder further down
    that are no recordings and may be lists, manifests, and some of the recordings."""
    recordings = [os.fspath(example.path) for part in (*index.splits.values(), index.noise) for example in _spread(part)]
    own = {os.path.dirname(path) for path in _paths(index)}
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


def _paths(index: CorpusIndex) -> Iterator[str]:
    return (os.fspath(example.path) for part in (*index.splits.values(), index.noise) for example in part)


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
    folders: dict[str, int] = {}
    names, of_folder = [], np.empty(len(examples), np.uint32)
    for row, example in enumerate(examples):
        folder, name = os.path.split(os.fspath(example.path))
        of_folder[row] = folders.setdefault(folder, len(folders))
        names.append(os.fsencode(name))
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        file.attrs["format"] = FORMAT
        file.attrs["fingerprint"] = fingerprint
        file["about"] = _bytes(
            {
                "class_names": list(index.class_names),
                "counts": [len(parts[part]) for part in PARTS],
                "folders": list(folders),
                "places": [[place.path, place.changed_ns, place.size] for place in made_of],
                "identity": {
                    "class_names": list(identity.class_names),
                    "drawn": list(identity.drawn),
                    "contents": {str(name): digest for name, digest in identity.contents.items()},
                    "root": identity.root,
                },
            }
        )
        file["folder"] = of_folder
        file["names"] = np.frombuffer(b"".join(names), np.uint8)
        file["ends"] = np.cumsum([len(name) for name in names], dtype=np.uint64)
        file["label"] = np.array([example.label for example in examples], np.int16)
        for key in _NUMBERS:
            values = np.array([getattr(example, key) for example in examples])
            file[key] = values[:1] if len(values) and (values == values[0]).all() else values
        file["members"] = np.ascontiguousarray(identity.members).view(np.uint8)


def load(path: Path) -> CorpusIndex:
    """The index in a file that is intact; nothing of it is read that is not asked for."""
    with h5py.File(path, "r", locking=False) as file:
        about, fingerprint = _told(file["about"][:]), str(file.attrs["fingerprint"])
        members = file["members"][:].view(MEMBER)
        columns = {key: _mapped(path, file[key]) for key in ("folder", "names", "ends", "label", *_NUMBERS)}
    ends = np.cumsum(about["counts"]).tolist()
    parts = {
        part: MappedExamples(about["folders"], columns, end - n, end) for part, end, n in zip(PARTS, ends, about["counts"])
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

    folders: Sequence[str]
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
        path = Path(self.folders[columns["folder"][at]], os.fsdecode(name))
        start_s, length_s, spoken_s, gain = (float(columns[key][at if len(columns[key]) > 1 else 0]) for key in _NUMBERS)
        return Example(path, int(columns["label"][at]), start_s, length_s, spoken_s, gain)


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
