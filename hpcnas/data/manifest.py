"""Lists of recordings with their labels: JSON lines as NeMo has them, or tables (CSV, TSV) as Common Voice has them.

``data.manifests`` names one file for train, validation and test each; a file that ends in ``.csv`` or ``.tsv`` is a table with
a header, any other one has a JSON object a line. Columns: the recording's path, its label, and if the recording is longer
``offset`` and ``duration`` in seconds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import audio, noise, problems
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example, checked, stretch_s
from hpcnas.data.problems import Problem

PADDING_COUNTS = False
PATH_COLUMNS = ("audio_filepath", "path", "file_name", "filename", "file", "wav")
LABEL_COLUMNS = ("label", "command", "language", "lang", "locale", "lang_id")


def index(config: DataConfig, seed: int) -> CorpusIndex:
    """All recordings that the manifests list, paths being relative to ``config.path``, or else to their manifest.

    Raises:
        DataError: for a missing manifest, lines or recordings that cannot be used, a class that is missing in a split.
    """
    if len(config.manifests) != 3:
        raise ConfigError(f"data.manifests = {list(config.manifests)}: must name three files, for train, validation and test")
    bad: list[Problem] = []
    entries: dict[str, list[tuple[str, Path, float, float]]] = {}
    for split, name in zip(SPLITS, config.manifests):
        manifest = Path(name).expanduser()
        entries[split] = []
        for number, fields in _lines(manifest):
            try:
                entries[split].append(_entry(fields, manifest, config))
            except DataError as error:
                bad.append(Problem(f"{manifest}, line {number}", str(error)))
    names = tuple(sorted({label for rows in entries.values() for label, *_ in rows}))
    examples: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for split, rows in entries.items():
        for label, path, offset, duration in rows:
            try:
                left = audio.duration_s(path) - offset
                if left <= 0:
                    raise DataError(f"{path}: ends before its offset")
                duration_s = min(left, duration or left)
                length_s = stretch_s(duration_s, config)
                examples[split].append(Example(path, names.index(label), offset, length_s, min(duration_s, length_s)))
            except DataError as error:
                bad.append(problems.of(path, error))
    problems.settle(bad, config.on_bad_file)
    root = Path(config.path).expanduser() if config.path else Path(config.manifests[0]).expanduser().parent
    splits = {split: tuple(examples[split]) for split in SPLITS}
    return checked(CorpusIndex(names, splits, noise.recordings(root, config)), config.manifests[0])


def _lines(manifest: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Number and columns of each line; a line that is no JSON object has none."""
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}); see data.manifests") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{manifest}: is not UTF-8 text ({error})") from error
    if manifest.suffix.lower() in (".csv", ".tsv"):
        table = csv.DictReader(text.splitlines(), delimiter="," if manifest.suffix.lower() == ".csv" else "\t")
        yield from ((table.line_num, row) for row in table)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except ValueError:
                fields = {}
            yield number, fields if isinstance(fields, dict) else {}


def _entry(fields: Mapping[str, object], manifest: Path, config: DataConfig) -> tuple[str, Path, float, float]:
    """Label, path, offset and duration of a line."""
    name = _column(fields, config.path_column, PATH_COLUMNS, "path")
    label = _column(fields, config.label_column, LABEL_COLUMNS, "label")
    if not label.isprintable():
        raise DataError(f"has a label with control characters ({label!r})")
    path = Path(config.path).expanduser() / name if config.path else manifest.parent / name
    try:
        offset, duration = (float(fields.get(key) or 0) for key in ("offset", "duration"))
    except (TypeError, ValueError):
        raise DataError("has an offset or duration that is no number") from None
    if not (0 <= offset < float("inf") and 0 <= duration < float("inf")):
        raise DataError("has an offset or duration that is negative or not finite")
    try:
        exists = path.is_file()
    except OSError:  # a name that is too long, say
        exists = False
    if not exists:
        raise DataError("names a file that does not exist")
    return label, path, offset, duration


def _column(fields: Mapping[str, object], configured: str, usual: tuple[str, ...], what: str) -> str:
    value = next((fields[key] for key in ((configured,) if configured else usual) if fields.get(key) not in (None, "")), None)
    if value is None:
        raise DataError(f"has no {what} (column {configured or ' or '.join(usual)})")
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise DataError(f"has a {what} that is no text ({json.dumps(value)})")
    return str(value).strip()
