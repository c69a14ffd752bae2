"""The lines of a manifest: JSON lines or an array of objects, or a table with a header, its fields between tabs, commas or
semicolons.

Of a table the header decides what separates fields, since programs disagree on what ``.csv`` means. Between tabs quotes are
text, as in Common Voice, unless the header itself is quoted; elsewhere they are CSV's.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.core.errors import DataError
from hpcnas.data.spelling import lines_of, text_of

SEPARATORS = {".csv": ",;\t", ".tsv": "\t,;"}
"""Of tables, by their suffix, the likeliest first."""


@dataclass(frozen=True)
class Row:
    """One entry of a manifest."""

    where: str
    """``line 7``, or ``entry 7`` of an array."""
    fields: Mapping[str, object]
    problem: str = ""
    """Why there are no fields."""


def rows(manifest: Path, columns: Sequence[Sequence[str]]) -> Iterator[Row]:
    """All entries of a manifest.

    Args:
        columns: for each column that a table must have, what it may be called.

    Raises:
        DataError: for a file that cannot be read as a whole.
    """
    text = text_of(manifest)
    if manifest.suffix.lower() in SEPARATORS:
        return _table(manifest, text, columns)
    return _objects(manifest, text)


def _objects(manifest: Path, text: str) -> Iterator[Row]:
    if text.lstrip()[:1] == "[":
        try:
            entries = _parsed(text)
        except ValueError as error:
            raise DataError(f"{manifest}: is no JSON ({error})") from error
        yield from (_object(f"entry {number}", entry) for number, entry in enumerate(entries, 1))
        return
    numbered = [(number, line) for number, line in enumerate(lines_of(text), 1) if line.strip()]
    if len(numbered) > 1 and numbered[0][1].strip() == "{":
        raise DataError(f"{manifest}: its JSON objects go over several lines; write one a line, or an array of them")
    for number, line in numbered:
        try:
            yield _object(f"line {number}", _parsed(line))
        except _Repeated as error:
            yield Row(f"line {number}", {}, str(error))
        except ValueError:
            yield Row(f"line {number}", {}, "is no JSON object")


def _object(where: str, entry: object) -> Row:
    return Row(where, entry) if isinstance(entry, dict) else Row(where, {}, "is no JSON object")


class _Repeated(ValueError):
    """A key that an object has twice."""


def _parsed(text: str) -> Any:
    """JSON, in which NaN is nothing: pandas writes what is missing so."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            keys = [key for key, _ in pairs]
            raise _Repeated(f'names "{next(key for key in keys if keys.count(key) > 1)}" twice')
        return fields

    def number(name: str) -> float | None:
        return None if name == "NaN" else float(name)

    try:
        return json.loads(text, parse_constant=number, object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _table(manifest: Path, text: str, columns: Sequence[Sequence[str]]) -> Iterator[Row]:
    lines = lines_of(text)
    start = 1 if lines[0].lower().startswith("sep=") else 0  # a hint of Excel's for itself
    head = next((line for line in lines[start:] if line.strip()), "")
    separator = _separator(head, SEPARATORS[manifest.suffix.lower()], columns)
    records: Iterator[tuple[int, list[str]]]
    if separator == "\t" and not _is_quoted(head):
        records = ((number, line.split("\t")) for number, line in enumerate(lines, 1) if number > start and line.strip())
    else:
        records = _quoted(manifest, "\n".join(lines[start:]), separator, start)
    header = [name.strip() for name in next(records, (0, []))[1]]
    _ensure_columns(manifest, header, columns)
    for number, values in records:
        while len(values) > len(header) and not values[-1].strip():  # separators that spreadsheets leave at the end
            values = values[:-1]
        if len(values) != len(header):
            yield Row(f"line {number}", {}, f"has {len(values)} fields where the header has {len(header)}")
        else:
            yield Row(f"line {number}", dict(zip(header, values)))


def _separator(head: str, candidates: str, columns: Sequence[Sequence[str]]) -> str:
    """That which makes most of the needed columns of a header line."""

    def columns_found(separator: str) -> int:
        names = {name.strip().strip('"') for name in head.split(separator)}
        return sum(not names.isdisjoint(usual) for usual in columns)

    return max(candidates, key=columns_found)


def _is_quoted(head: str) -> bool:
    return all(len(name) > 1 and name[0] == name[-1] == '"' for name in head.split("\t"))


def _quoted(manifest: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line, and fields, of each record of a table with CSV's quotes."""
    limit = csv.field_size_limit(sys.maxsize >> 32)  # a C long, which has 32 bits on some systems
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        records = [(reader.line_num + skipped, record) for record in reader if any(field.strip() for field in record)]
    except csv.Error as error:
        line = reader.line_num + skipped
        raise DataError(f"{manifest}, line {line}: is no CSV ({error}); see the quotes there and before") from error
    finally:
        csv.field_size_limit(limit)
    return iter(records)


def _ensure_columns(manifest: Path, header: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Raise DataError unless a table has what is needed, once."""
    for usual in columns:
        there = [name for name in header if name in usual]
        if not there:
            raise DataError(f"{manifest}: has no column {' or '.join(usual)}; its header has {', '.join(header) or 'nothing'}")
        if twice := next((name for name in there if there.count(name) > 1), None):
            raise DataError(f'{manifest}: names the column "{twice}" twice; rename one')
