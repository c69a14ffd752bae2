"""What a corpus is known by, from its index. See ``core/corpus_identity.py``."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.core.corpus_identity import MEMBER, NO_LABEL, PARTS, CorpusIdentity
from hpcnas.data.corpus import SILENCE, UNKNOWN, CorpusIndex, DataConfig
from hpcnas.data.inside import Source, opened, size_of
from hpcnas.data.surroundings import sounds_of

LOOKED_INTO = 512
"""Recordings whose content counts beside their size: enough to see that folders were exchanged or all recorded anew; read in
a second."""
HEAD = 65536
"""Bytes of each of them."""


def identify(index: CorpusIndex, data: DataConfig, features: Mapping[str, Any], root: str = "") -> CorpusIdentity:
    """The identity of a corpus; asks for the size of every file and looks into some.

    Args:
        features: settings by which it is heard.
        root: folder that names are relative to; empty: ``data.path``, or what the files have in common.
    """
    noise = [replace(stretch, label=NO_LABEL) for stretch in index.noise]
    examples = [
        (number, example) for number, part in enumerate(PARTS) for example in (noise if part == "noise" else index.splits[part])
    ]
    of_noise = {NO_LABEL, *(label for label, name in enumerate(index.class_names) if name == SILENCE)}
    here = os.getcwd() + os.sep
    texts = [os.fspath(example.path) for _, example in examples]
    files = {text: text if os.path.isabs(text) else here + text for text in texts}
    own = [files[text] for (_, example), text in zip(examples, texts) if not example.name]
    root = root or _root(own, data)
    sources = {text: example.source for (_, example), text in zip(examples, texts)}
    sizes = {text: size_of(source) % 2**32 for text, source in sources.items()}
    seen: Counter[str] = Counter()
    members, names = [], []
    for (number, example), text in zip(examples, texts):
        name = _composed(example.name or _below(files[text], root))
        names.append(f"{name} from {example.start_s:.3f} s" if example.start_s else name)
        # Stretches of noise are cut anew when there are others: they belong to no split.
        key = f"{names[-1]}, {PARTS[number] if example.label in of_noise else 'speech'}"
        seen[key] += 1  # a list may name a recording twice
        digest = _digest(f"{key} {seen[key]}".encode("utf-8", "surrogateescape"))
        members.append((int(digest, 16), number, example.label, sizes[text]))
    for sound in sounds_of(index.copies):  # heard in training; known by their names wherever their folders are
        names.append(f"{sound.name}, of data.noise or data.rooms")
        texts.append(os.fspath(sound.path))
        sources[texts[-1]] = sound.path
        seen[names[-1]] += 1
        digest = _digest(f"{names[-1]} {seen[names[-1]]}".encode("utf-8", "surrogateescape"))
        members.append((int(digest, 16), PARTS.index("noise"), NO_LABEL, sound.path.stat().st_size % 2**32))
    rows = np.array(members, MEMBER)
    order = np.argsort(rows["name"])
    return CorpusIdentity(
        class_names=tuple(_composed(name) for name in index.class_names),
        drawn=tuple(name for name in (UNKNOWN, SILENCE) if name in index.class_names),
        features=dict(features),
        members=rows[order],
        contents=_contents((int(rows["name"][row]), sources[texts[row]]) for row in order[:LOOKED_INTO].tolist()),
        root=root,
        names=[names[row] for row in order.tolist()],
    )


def _below(file: str, root: str) -> str:
    return file[len(root) + 1 :] if file.startswith(root + os.sep) else os.path.relpath(file, root)


def _contents(some: Iterable[tuple[int, Source]]) -> dict[int, str]:
    """A digest of the beginning of each of these recordings."""
    found, known = {}, {}
    for name, source in some:
        if source not in known:
            with opened(source) as file:
                known[source] = _digest(file.read(HEAD))
        found[name] = known[source]
    return found


def _root(files: list[str], data: DataConfig) -> str:
    """Where the corpus is: what all its files have in common is no part of their names."""
    given = [Path(data.path)] if data.path else []
    given += [Path(name).parent for name in data.manifests[:1]]
    for place in (os.fspath(Path.cwd() / folder.expanduser()) for folder in given):
        if all(file.startswith(place + os.sep) for file in files):
            return place
    return os.path.commonpath([os.path.dirname(file) for file in files])


def _composed(text: str) -> str:
    """The same whichever way a system spells accents."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
