"""Lists that divide a corpus: ``validation_list.txt`` and ``testing_list.txt`` of Speech Commands, in every layout.

One recording a line, by its path below the corpus' root; what neither names is for training. So a line that is not understood
would put a held-out recording into training, and is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio, spelling
from hpcnas.data.finding import OTHER_SOUND
from hpcnas.data.problems import SHOWN, printable

logger = logging.getLogger(__name__)

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def there(root: Path) -> bool:
    """Whether a corpus is divided by lists; raises DataError if one of the two is missing."""
    present = {name: (root / name).is_file() for name in LISTS.values()}
    if any(present.values()) and not all(present.values()):
        missing = next(name for name, is_there in present.items() if not is_there)
        raise DataError(f"{root / missing}: missing; it has one class/file.wav a line; without both lists speakers are divided")
    return all(present.values())


def by_lists(root: Path, recordings: Sequence[tuple[str, Path]], on_bad_file: str) -> Iterator[tuple[str, str, Path]]:
    """Split, class and path of recordings (class and path).

    Raises:
        DataError: for lines that name no recording, unless those are to be skipped, and recordings that both lists name.
    """
    names = _Names(root, [path for _, path in recordings])
    splits: dict[Path, str] = {}
    twice: list[Path] = []
    for split, name in LISTS.items():
        lines = [line for line in spelling.lines_of(spelling.text_of(root / name)) if line.strip()]
        unknown = []
        for line in lines:
            paths = names.find(line)
            twice += [path for path in paths if splits.setdefault(path, split) != split]
            if not paths:
                unknown.append(printable(line.strip()))
        if unknown:
            some = f"{root / name}: {len(unknown)} of {len(lines)} lines name no recording, first {', '.join(unknown[:SHOWN])}"
            if on_bad_file == "fail":
                raise DataError(f'{some}; correct or remove them, or set data.on_bad_file = "skip"')
            logger.warning("%s: left out", some)
    if twice:
        first = ", ".join(printable(path.relative_to(root).as_posix()) for path in twice[:SHOWN])
        raise DataError(f"{root}: {len(twice)} recording(s) are in both lists, first {first}; keep each in one")
    yield from ((splits.get(path, "train"), name, path) for name, path in recordings)


class _Names:
    """Recordings by what lists call them.

    In this order: the path below the root, with or without folders above it (of another machine, say); the same in capital or
    small letters, or with another suffix (corpora are converted); another name of the same file. Where several
    are meant, all are: held out is the safe side.
    """

    def __init__(self, root: Path, paths: Iterable[Path]) -> None:
        self._root, self._paths = root, tuple(paths)
        keys = [spelling.key_of(path.relative_to(root).as_posix()) for path in self._paths]
        self._tables = [(form, _grouped(map(form, keys), self._paths)) for form in (str, _loosely)]
        self._real: dict[str, list[Path]] | None = None

    def find(self, line: str) -> Sequence[Path]:
        if "\0" in line:  # of which the system knows no name
            return ()
        parts = spelling.key_of(line).split("/")
        tails = ["/".join(parts[first:]) for first in range(max(1, len(parts) - 1))]
        for form, table in self._tables:
            if found := next((table[form(tail)] for tail in tails if form(tail) in table), ()):
                return found
        if self._real is None:
            self._real = _grouped(map(os.path.realpath, self._paths), self._paths)
        return self._real.get(os.path.realpath(self._root / "/".join(parts)), ())


def _loosely(key: str) -> str:
    stem, suffix = os.path.splitext(key.casefold())
    return stem if suffix in (*audio.SUFFIXES, *OTHER_SOUND) else stem + suffix


def _grouped(keys: Iterable[str], paths: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for key, path in zip(keys, paths):
        groups.setdefault(key, []).append(path)
    return groups
