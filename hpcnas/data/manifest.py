"""Lists of recordings with their labels: JSON lines as NeMo has them, or tables (CSV, TSV) as Common Voice has them.

``data.manifests`` names one file for train, validation and test each; a file that ends in ``.csv`` or ``.tsv`` is a table with
a header, any other one has a JSON object a line, or an array of them. Columns: the recording's path, its label, and if the
recording is longer ``offset`` and ``duration`` in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.data.listed import LABEL_COLUMNS, Entry, by_place, indexed, label_of
from hpcnas.data.problems import Problem
from hpcnas.data.rows import rows
from hpcnas.data.spelling import below

PADDING_COUNTS = False
PATH_COLUMNS = ("audio_filepath", "path", "file_name", "filename", "file", "wav")


def index(config: DataConfig) -> CorpusIndex:
    """All recordings that the manifests list, paths being relative to ``config.path``, or else to their manifest.

    Raises:
        DataError: for a missing manifest, lines or recordings that cannot be used, a class that is missing in a split.
    """
    manifests = _manifests(config)
    bad: list[Problem] = []
    entries = {split: list(entries_in(path, config, bad)) for split, path in manifests.items()}
    root = Path(config.path).expanduser() if config.path else next(iter(manifests.values())).parent
    return indexed(entries, bad, root, ", ".join(map(str, manifests.values())), config)


def fields_of(config: DataConfig, split: str) -> Mapping[tuple[Path, float], Mapping[str, object]]:
    """The columns of a split's lines, by recording and where in it an example begins, in seconds."""
    return by_place([*entries_in(_manifests(config)[split], config, [])])


def says_splits(config: DataConfig) -> bool:
    """Manifests always do."""
    return True


def _manifests(config: DataConfig) -> dict[str, Path]:
    """The manifest of each split."""
    splits = ("test",) if config.all_is_test else SPLITS
    if len(config.manifests) != len(splits):
        needed = "one file, of which all is the test" if config.all_is_test else "three files, for train, validation and test"
        raise ConfigError(f"data.manifests = {list(config.manifests)}: must name {needed}")
    manifests = [Path(name).expanduser() for name in config.manifests]
    for one, other in combinations(manifests, 2):
        if one.resolve() == other.resolve():
            raise ConfigError(f"data.manifests: {one.name} and {other.name} are the same file; each split needs its own")
    return dict(zip(splits, manifests))


def entries_in(manifest: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    """The lines of one manifest; ``bad`` receives those that cannot be used."""
    path_columns = (config.path_column,) if config.path_column else PATH_COLUMNS
    label_columns = (config.label_column,) if config.label_column else LABEL_COLUMNS
    base = Path(config.path).expanduser() if config.path else manifest.parent
    for row in rows(manifest, (path_columns, label_columns)):
        try:
            if row.problem:
                raise DataError(row.problem)
            label = label_of(text_in(row.fields, label_columns, "label"))
            path = below(base, text_in(row.fields, path_columns, "path"))
            offset_s, duration_s = seconds_in(row.fields, "offset"), seconds_in(row.fields, "duration")
            if path is None:
                raise DataError("names a file that does not exist")
            yield Entry(label, path, offset_s, duration_s, row.fields)
        except DataError as error:
            bad.append(Problem(f"{manifest}, {row.where}", str(error)))


def text_in(fields: Mapping[str, object], columns: tuple[str, ...], what: str) -> str:
    """The first of the columns that holds something. Whole numbers are text too: pandas writes them as floats where others are
    missing."""
    for column in columns:
        value = fields.get(column)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise DataError(f"has a {what} that is no text ({json.dumps(value)})")
        if value and value.strip():
            return value.strip()
    raise DataError(f"has no {what} (column {' or '.join(columns)})")


def seconds_in(fields: Mapping[str, object], column: str) -> float:
    value = fields.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError("has an offset or duration that is no number")
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        raise DataError("has an offset or duration that is no number") from None
    if not 0 <= seconds < float("inf"):
        raise DataError("has an offset or duration that is negative or not finite")
    return seconds
