"""Features on their way: pieces of a feature file, each made by any rank of any job and kept until the file is whole, so that a
job goes on where another one was cut off, on as many ranks as it has."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpcnas.data.features import BadFile, Share
from hpcnas.data.problems import Problem
from hpcnas.store.files import replacing

EXAMPLES = 64
"""Of a piece: seconds of work."""
MOST = 4096
"""Pieces of a corpus, however large: each is two files for a while."""
KEPT_FOR_S = 7 * 24 * 3600.0
"""Pieces that nobody has added to for so long are nobody's."""


def number_of(examples: int) -> int:
    """Pieces of so many examples; it must not depend on the job."""
    return max(1, min(MOST, math.ceil(examples / EXAMPLES)))


def folder_of(path: Path) -> Path:
    """Of the pieces of the feature file ``path``, whose name tells all that it is made of."""
    return path.with_name(f".{path.name}.pieces")


def known(folder: Path, number: int) -> Share | None:
    """A piece that is there, and as it was written."""
    path, told = _files(folder, number)
    try:
        share = _read(told.read_bytes(), path)
        is_whole = hashlib.sha256(path.read_bytes()).digest() == share.sha256
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return share if is_whole else None


def make(folder: Path, number: int, extract: Callable[[Path], Share]) -> Share:
    """A piece that is not, by ``extract``, which writes its frames."""
    path, told = _files(folder, number)
    with replacing(path) as part:
        share = replace(extract(part), path=path)
    with replacing(told) as part:
        part.write_text(_text(share), encoding="utf-8")
    return share


def remove(folder: Path) -> None:
    """Remove all pieces; another job that makes the same ones may be adding to them."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove pieces of feature files in ``folder`` that were left for long."""
    for left in folder.glob(".*.pieces"):
        with suppress(FileNotFoundError):  # another job was faster
            if time.time() - left.stat().st_mtime > KEPT_FOR_S:
                remove(left)


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    """Of a piece: its frames, and what is to be said of them."""
    return folder / f"{number:04d}.frames", folder / f"{number:04d}.json"


def _text(share: Share) -> str:
    fields = asdict(share)
    return json.dumps({"sha256": share.sha256.hex(), **{key: fields[key] for key in ("bad", "odd", "bad_sounds")}})


def _read(text: bytes, path: Path) -> Share:
    fields: dict[str, Any] = json.loads(text)
    bad = tuple(BadFile(one["part"], one["row"], Problem(**one["problem"])) for one in fields["bad"])
    odd, bad_sounds = (tuple(Problem(**one) for one in fields[key]) for key in ("odd", "bad_sounds"))
    return Share(path, bytes.fromhex(fields["sha256"]), bad, odd, bad_sounds)
