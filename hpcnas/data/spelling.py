"""Text files and the names of files in them, whatever system wrote them.

Windows separates folders by backslashes and marks text by a byte order mark, or writes UTF-16; macOS decomposes letters with
accents (NFD) where others compose them (NFC). What differs in these alone means the same file.
"""

from __future__ import annotations

import codecs
import posixpath
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from hpcnas.core.errors import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and what they tell."""


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte order mark says; raises DataError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {line}: is not UTF-8 text ({error.reason}); save the file as UTF-8") from error


def _encoding(content: bytes) -> str:
    marked = next((encoding for mark, encoding in MARKS if content.startswith(mark)), None)
    # Without a mark a zero among the first two bytes gives UTF-16 away: no list begins with a NUL.
    unmarked: dict[tuple[bool, ...], str] = {(True, False): "utf-16-be", (False, True): "utf-16-le"}
    return marked or unmarked.get(tuple(byte == 0 for byte in content[:2]), "utf-8")


def lines_of(text: str) -> list[str]:
    """Lines as any system ends them. JSON strings may hold U+2028 and the like, at which ``str.splitlines`` would cut; a mark
    within a text is of a file that was appended to another."""
    return [line.lstrip("\ufeff") for line in re.split(r"\r\n|\n|\r", text)]


def composed(text: str) -> str:
    """Letters with accents as one character each (NFC)."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """The same for texts that differ in capitals alone."""
    return composed(text).casefold()


def words_of(text: str) -> list[str]:
    """Letters and digits, folded, without whatever is between them; apostrophes belong to words."""
    return "".join(c if c.isalnum() else "" if c in "'’" else " " for c in folded(text)).split()


def key_of(name: str) -> str:
    """One spelling for a path below a root, to compare by."""
    return posixpath.normpath(composed(name).strip().strip('"').replace("\\", "/")).lstrip("/")


def below(base: Path, name: str) -> Path | None:
    """The file that ``name`` means, from ``base`` on; None if there is none."""
    if _is(path := base / name, Path.is_file):
        return path
    place = base
    for part in PurePosixPath(name.replace("\\", "/")).parts:
        forms = (part, composed(part), unicodedata.normalize("NFD", part))
        found = next((path for form in forms if _is(path := place / form, Path.exists)), None)
        if found is None:
            return None
        place = found
    return place if place.is_file() else None


def _is(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except OSError:  # a name that is too long, say
        return False
