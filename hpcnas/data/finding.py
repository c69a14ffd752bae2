"""Looking for recordings in folders, and counting what lies there and is not used."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hpcnas.core.errors import DataError
from hpcnas.data import audio
from hpcnas.data.problems import Problem, printable

logger = logging.getLogger(__name__)

OTHER_SOUND = frozenset(
    {
        ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".dss", ".m4a", ".m4b", ".mka", ".mkv",
        ".mov", ".mp2", ".mp4", ".mpga", ".nist", ".oga", ".pcm", ".ra", ".raw", ".rf64", ".snd", ".sph", ".spx", ".voc",
        ".w64", ".wave", ".weba", ".webm", ".wma", ".wv",
    }
) - {*audio.SUFFIXES}  # fmt: skip
"""Suffixes of sound that is not looked for: whoever has it would like to hear that it is left out."""
ORDINARY = ("readme", "license", "licence", "notice", "changelog", "thumbs.db", "desktop.ini")
"""Beginnings of names that nobody expects to be a recording."""


class Unused:
    """What was found and is not used, counted by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._is_loss = False

    def add(self, reason: str, count: int = 1, is_loss: bool = True) -> None:
        """``is_loss``: whether it may be speech that the user means to be there."""
        if count:
            self._counts[reason] += count
            self._is_loss |= is_loss

    def summary(self) -> str:
        """Nothing if all is used."""
        parts = (f"{count} {reason}" for reason, count in self._counts.most_common())
        return f"{self._counts.total()} files not used: {', '.join(parts)}" if self._counts else ""

    def say(self, where: Path) -> None:
        """One line in the log, a warning if sound is left out."""
        if text := self.summary():
            logger.log(logging.WARNING if self._is_loss else logging.INFO, "%s: %s", where, text)


def folders(root: Path) -> list[Path]:
    """Those directly below ``root``, also links to some, by name."""
    try:
        return sorted(path for entry in os.scandir(root) if (path := Path(entry.path)).is_dir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror})") from error


def recordings(folder: Path, unused: Unused, bad: list[Problem]) -> list[Path]:
    """All recordings below ``folder``, through links too, each once, by name; ``bad`` receives what is there in name only."""
    found = []
    for path, is_file, is_hidden in _files(folder):
        suffix = path.suffix.lower()
        if is_hidden:
            unused.add("hidden recordings", int(suffix in audio.SUFFIXES), is_loss=False)
        elif suffix not in audio.SUFFIXES:
            _count_other(path, unused)
        elif is_file:
            found.append(path)
        else:
            bad.append(Problem(printable(str(path)), "is a link to nowhere" if path.is_symlink() else "is no file"))
    return sorted(found)


def of_class(folder: Path, unused: Unused, bad: list[Problem]) -> list[Path]:
    """The same of a folder that must have some; raises DataError."""
    found = recordings(folder, unused, own_bad := list[Problem]())
    bad += own_bad
    if not found and not own_bad:
        kinds = ", ".join(audio.SUFFIXES)
        raise DataError(f"{folder}: a folder without recordings ({kinds}){_other_sound(folder)}; fill or remove it")
    return found


def outside(root: Path, left_out: Iterable[Path], unused: Unused) -> None:
    """Count recordings that lie in the root itself, and in folders that are no classes."""
    for path in root.iterdir():
        if path.suffix.lower() in (*audio.SUFFIXES, *OTHER_SOUND) and not path.name.startswith(".") and path.is_file():
            unused.add("in the root, outside all folders")
    for folder in left_out:
        count = sum(path.suffix.lower() in audio.SUFFIXES for path, *_ in _files(folder))
        unused.add(f"in {printable(folder.name)}", count, is_loss=not folder.name.startswith("."))


def _other_sound(folder: Path) -> str:
    """What a folder without recordings holds instead, such as `` (holds 3 .m4a: convert them)``."""
    counts = Counter(suffix for path, *_ in _files(folder) if (suffix := path.suffix.lower()) in OTHER_SOUND)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
    return f" (holds {kinds}: convert them)" if kinds else ""


def _count_other(path: Path, unused: Unused) -> None:
    suffix = path.suffix.lower()
    if suffix in OTHER_SOUND:
        unused.add(f"{suffix} (not read; convert them)")
    elif not path.name.lower().startswith(ORDINARY):
        unused.add(printable(suffix) or "without a suffix", is_loss=False)


class _Place(NamedTuple):
    """A folder to look into, or a link to anything."""

    path: Path
    real: str
    """Without links."""
    is_hidden: bool


def _files(folder: Path) -> Iterator[tuple[Path, bool, bool]]:
    """Every file below ``folder`` once, whatever links lead to it; whether it is there, and whether it is hidden.

    Links come last, so that what has a place of its own goes by that.
    """
    places, links, seen = [_Place(folder, os.path.realpath(folder), False)], deque[_Place](), set()
    while places or links:
        place = places.pop() if places else links.popleft()
        if place.real in seen:
            continue
        seen.add(place.real)
        if not place.path.is_dir():
            yield place.path, place.path.is_file(), place.is_hidden
            continue
        try:
            entries = sorted(os.scandir(place.path), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{place.path}: cannot be read ({error.strerror}); see its permissions, or remove it") from error
        for entry in entries:
            is_hidden = place.is_hidden or entry.name.startswith(".") or entry.name == "__MACOSX"
            path = place.path / entry.name
            if entry.is_symlink():
                links.append(_Place(path, os.path.realpath(path), is_hidden))
            elif entry.is_dir():
                places.append(_Place(path, os.path.join(place.real, entry.name), is_hidden))
            else:
                seen.add(os.path.join(place.real, entry.name))
                yield path, entry.is_file(), is_hidden
