"""``mined.json``: windows of audio without keywords that a model took for some, most surely first.

They are of the training part of ``data.negatives``; training learns that they are ``_unknown_``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import negatives
from hpcnas.data.corpus import Example
from hpcnas.data.negatives import Negative

FORMAT = 1


@dataclass(frozen=True)
class Window:
    """One of them."""

    path: Path
    start_s: float
    keyword: str
    """What it was taken for."""
    score: float


@dataclass(frozen=True)
class Mined:
    """What was found.

    Args:
        model: by which: its run and its name.
        wanted: so many were asked for.
        hours: that were heard.
    """

    model: str
    wanted: int
    hours: float
    windows: tuple[Window, ...]

    def examples(self, label: int) -> list[Example]:
        return [negatives.window(one.path, label, one.start_s) for one in self.windows]


def as_text(mined: Mined) -> str:
    """The file's content."""
    windows = [
        {"recording": os.fspath(one.path), "start_s": one.start_s, "keyword": one.keyword, "score": one.score}
        for one in mined.windows
    ]
    fields = {"format": FORMAT, "model": mined.model, "wanted": mined.wanted, "hours": mined.hours, "windows": windows}
    return json.dumps(fields, indent=1)


def load(path: Path) -> Mined:
    """Raises DataError if it is missing, damaged or of another format, or a recording is gone."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise DataError(f"{path}: has format {fields['format']}, not {FORMAT}; go on with the hpcnas that wrote it")
        windows = tuple(
            Window(Path(one["recording"]), float(one["start_s"]), str(one["keyword"]), float(one["score"]))
            for one in fields["windows"]
        )
        found = Mined(str(fields["model"]), int(fields["wanted"]), float(fields["hours"]), windows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a list of mined windows ({error}); hpcnas.mine writes such") from error
    gone = sorted({one.path for one in found.windows if not one.path.is_file()})
    if gone:
        raise DataError(f"{path}: {len(gone)} recording(s) are gone, first {gone[0]}; restore them, or mine anew")
    return found


def ensure_for_training(path: Path, mined: Mined, parts: Mapping[str, Sequence[Negative]]) -> None:
    """Raise DataError for windows of recordings that are not in the training part of ``data.negatives``: in another part, they
    are for tests."""
    own = _real(one.path for one in parts["train"])
    if others := sorted(_real(one.path for one in mined.windows) - own):
        raise DataError(
            f"{path}: {len(others)} recording(s) are not in the training part of data.negatives, first {others[0]}; set "
            "data.negatives as when these were mined, or mine anew"
        )


def _real(paths: Iterable[Path]) -> set[str]:
    return {os.path.realpath(path) for path in paths}
