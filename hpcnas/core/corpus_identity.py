"""What makes a corpus the same one: its classes, which recording is in which split, what recordings hold, how they are heard.

Where the recordings lie, and when their files were written, does not count. A recording is known by a digest of its name below
the corpus' root, so that a run remembers millions of them in a few bytes each. Shape letters: ``N`` members.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

PARTS = ("train", "validation", "test", "noise")
"""The splits, and recordings of background noise for augmentation."""
MEMBER = np.dtype([("name", "<u8"), ("part", "u1"), ("label", "<u2"), ("size", "<u4")])
"""An example: digest of its name, number of its part, number of its class, bytes of its file (modulo 2 ** 32)."""
NO_LABEL = 0xFFFF
"""Of noise."""
SHOWN = 3
"""Names and classes told of each kind of change."""


@dataclass(frozen=True, eq=False)
class CorpusIdentity:
    """What a run remembers of its corpus.

    Args:
        class_names: in the order of the labels.
        drawn: classes whose examples are drawn by lot from what there is (other words, background noise): further recordings of
            any class may change which are drawn.
        features: settings by which recordings are heard, by name.
        members: (N,) of ``MEMBER``, ascending by name, which is unique.
        contents: of a sample of the members, by name, a digest of what their files hold.
        root: folder that the names are relative to. Where it is does not count.
        names: (N,) of the members, as people know them; empty where the identity was read from a file.
    """

    class_names: tuple[str, ...]
    drawn: tuple[str, ...]
    features: Mapping[str, Any]
    members: np.ndarray
    contents: Mapping[int, str]
    root: str = ""
    names: Sequence[str] = field(default=(), repr=False)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Members of every class, per part; of noise just ``recordings``."""
        found: dict[str, dict[str, int]] = {}
        for number, part in enumerate(PARTS):
            labels = Counter(self.members["label"][self.members["part"] == number].tolist())
            names = dict(enumerate(self.class_names)) | {NO_LABEL: "recordings"}
            found[part] = {names[label]: labels[label] for label in sorted(labels)}
        return found

    @property
    def digests(self) -> dict[str, str]:
        """Of each part's members; equal for equal ones."""
        parts = {part: self.members[self.members["part"] == number] for number, part in enumerate(PARTS)}
        return {part: sha256(np.ascontiguousarray(of).tobytes()).hexdigest()[:16] for part, of in parts.items()}


@dataclass(frozen=True)
class Change:
    """One way in which a corpus is not what it was, as ``train: 8 recordings more``.

    Args:
        is_addition: no more than recordings that were not there before, or other noise; earlier results keep their meaning.
        is_draw: no more than another draw of the classes that are drawn by lot.
    """

    what: str
    is_addition: bool = False
    is_draw: bool = False


def changes(before: CorpusIdentity, now: CorpusIdentity) -> list[Change]:
    """All that differs, the gravest first; none if the corpus is the same."""
    classes = class_changes(before.class_names, now.class_names)
    settings = [
        Change(f"features.{key} = {before.features.get(key)!r}, now {now.features.get(key)!r}")
        for key in sorted({*before.features, *now.features})
        if before.features.get(key) != now.features.get(key)
    ]
    if not classes and before.contents == now.contents and np.array_equal(before.members, now.members):
        return settings  # of millions of recordings in a moment, where what follows takes half a minute
    return [*classes, *settings, *_of_common(before, now), *_gone(before, now), *_new(before, now)]


def class_changes(before: Sequence[str], now: Sequence[str]) -> list[Change]:
    """What differs in the names of the classes and in their order."""
    gone, new = ([name for name in one if name not in other] for one, other in ((before, now), (now, before)))
    found = [Change(f"{_classes(gone)} no longer there")] if gone else []
    found += [Change(f"{_classes(new)} new")] if new else []
    if not found and tuple(before) != tuple(now):
        found.append(Change("the classes are in another order"))
    return found


def _of_common(before: CorpusIdentity, now: CorpusIdentity) -> list[Change]:
    """Recordings that are there still, but are not what or where they were."""
    _, at_before, at_now = np.intersect1d(before.members["name"], now.members["name"], True, return_indices=True)
    was, is_ = before.members[at_before], now.members[at_now]
    found = []
    for number, old in enumerate(PARTS):
        for other, new in enumerate(PARTS):
            rows = at_now[(was["part"] == number) & (is_["part"] == other)]
            if number != other and len(rows):
                found.append(Change(f"{_recordings(len(rows))} of {old} now in {new}{_first(now, rows)}"))
    same_class = _class_numbers(before)[was["label"]] == _class_numbers(now)[is_["label"]]
    if not same_class.all():
        rows = at_now[~same_class]
        found.append(Change(f"{_recordings(len(rows))} now of another class{_first(now, rows)}"))
    both = before.contents.keys() & now.contents.keys()
    others = np.array([name for name in both if before.contents[name] != now.contents[name]], np.uint64)
    rows = at_now[(was["size"] != is_["size"]) | np.isin(was["name"], others)]
    if len(rows):
        least = "at least " if len(others) and len(now.contents) < len(now.members) else ""
        found.append(Change(f"{least}{_recordings(len(rows))} with another content{_first(now, rows)}"))
    return found


def _gone(before: CorpusIdentity, now: CorpusIdentity) -> list[Change]:
    """Recordings that are missing, of classes that are there still and not drawn by lot."""
    gone = before.members[~np.isin(before.members["name"], now.members["name"])]
    found = []
    for number, part in enumerate(PARTS):
        of = Counter(gone["label"][gone["part"] == number].tolist())
        names = {before.class_names[label]: count for label, count in sorted(of.items()) if label != NO_LABEL}
        lost = {n: count for n, count in names.items() if n in now.class_names and n not in before.drawn}
        if lost:
            where = ", ".join(f"{count} of {name}" for name, count in list(lost.items())[:SHOWN])
            found.append(Change(f"{part}: {_recordings(sum(lost.values()))} fewer ({where})"))
        if of[NO_LABEL]:  # nothing was ever judged on it
            found.append(Change(f"{part}: {_recordings(of[NO_LABEL])} fewer", is_addition=True))
    return found


def _new(before: CorpusIdentity, now: CorpusIdentity) -> list[Change]:
    """Recordings that were not there, of classes that were."""
    found = []
    own, others = _class_numbers(before), _class_numbers(now)
    drawn = own[[before.class_names.index(name) for name in before.drawn]]
    was_there = others[now.members["label"]]
    is_new = ~np.isin(now.members["name"], before.members["name"]) & np.isin(was_there, own)
    is_gone = ~np.isin(before.members["name"], now.members["name"])
    for number, part in enumerate(PARTS):
        there = is_new & (now.members["part"] == number)
        rows = np.flatnonzero(there & ~np.isin(was_there, drawn))
        if len(rows):
            found.append(Change(f"{part}: {_recordings(len(rows))} more{_first(now, rows)}", is_addition=True))
        lots = there & np.isin(was_there, drawn)
        left = is_gone & (before.members["part"] == number) & np.isin(own[before.members["label"]], drawn)
        if count := max(int(lots.sum()), int(left.sum())):
            names = {now.class_names[label] for label in now.members["label"][lots].tolist()}
            names |= {before.class_names[label] for label in before.members["label"][left].tolist()}
            what = f"{part}: {_recordings(count)} of {' and '.join(sorted(names))} drawn anew"
            found.append(Change(what, is_addition=True, is_draw=True))
    return found


def _class_numbers(identity: CorpusIdentity) -> np.ndarray:
    """By label, as large as labels can be: a number that a class has in every identity, by its name alone."""
    numbers = np.zeros(NO_LABEL + 1, np.uint64)
    for label, name in enumerate(identity.class_names):
        numbers[label] = int.from_bytes(sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    return numbers


def _first(now: CorpusIdentity, rows: np.ndarray) -> str:
    """The first names among these members, in the order of the alphabet."""
    names = sorted(now.names[row] for row in rows.tolist()) if now.names else []
    return f" ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})" if names else ""


def _recordings(count: int) -> str:
    return f"{count} recording{'s' if count > 1 else ''}"


def _classes(names: Sequence[str]) -> str:
    return f"class{'es' if len(names) > 1 else ''} {', '.join(names)}"
