"""Kaldi's data folders: ``wav.scp``, with ``segments`` if recordings are long, ``utt2spk``, and what is said or spoken.

The class of an utterance is in ``utt2lang``, ``utt2label`` or ``text``, or in the file that ``data.label_column`` names. Files
``utt2...`` and ``spk2...`` are columns, such as ``gender`` of ``spk2gender``. Commands in ``wav.scp`` are not run.
https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import finding
from hpcnas.data.corpus import DataConfig
from hpcnas.data.listed import Entry, Layout, Places, label_of
from hpcnas.data.problems import Problem
from hpcnas.data.spelling import lines_of, text_of

PADDING_COUNTS = False
LABELS = ("utt2lang", "utt2label", "text")
NO_COLUMNS = ("utt2spk", "utt2dur", "utt2num_frames", "utt2uniq", "spk2utt")
"""Files that tell nothing of what groups are made by."""


@dataclass(frozen=True)
class _Line:
    where: str
    value: str


def _find(path: Path) -> Sequence[Path]:
    """Folders with a ``wav.scp``: this one, or else those below it, to a depth of two."""
    if (path / "wav.scp").is_file():
        return [path]
    if not path.is_dir():
        return []
    return [found for folder in finding.folders(path) if not folder.name.startswith(".") for found in _below(folder)]


def _below(folder: Path) -> list[Path]:
    return [place for place in (folder, *finding.folders(folder)) if (place / "wav.scp").is_file()]


def _read(folder: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    recordings = _table(folder / "wav.scp", bad)
    has_segments = (folder / "segments").is_file()
    utterances = _table(folder / "segments", bad) if has_segments else recordings
    label_file = _label_file(folder, config)
    labels, columns = _table(folder / label_file, bad), _columns(folder, bad)
    places = Places(folder, config)
    for utterance, line in utterances.items():
        try:
            if utterance not in labels:
                raise DataError(f"has no label in {label_file}")
            name, offset_s, duration_s = _segment(line.value) if has_segments else (utterance, 0.0, 0.0)
            if name not in recordings:
                raise DataError("names a recording that wav.scp does not have")
            path = places.of(_file(recordings[name].value))
            fields = {column: of[utterance] for column, of in columns.items() if utterance in of}
            yield Entry(label_of(labels[utterance].value), path, offset_s, duration_s, fields)
        except DataError as error:
            bad.append(Problem(line.where, str(error)))


def _label_file(folder: Path, config: DataConfig) -> str:
    column = config.label_column
    candidates = (column, f"utt2{column}") if column else LABELS
    if found := next((name for name in candidates if (folder / name).is_file()), None):
        return found
    raise DataError(f"{folder}: has no {' or '.join(candidates)}, which would tell classes; add one, or set data.label_column")


def _table(path: Path, bad: list[Problem]) -> dict[str, _Line]:
    """The rest of each line by the id at its begin; ``bad`` receives lines that have none of their own."""
    table: dict[str, _Line] = {}
    for number, text in enumerate(lines_of(text_of(path)), 1):
        if not text.strip():
            continue
        name, *rest = text.split(maxsplit=1)
        where = f"{path}, line {number}"
        if name in table:
            bad.append(Problem(where, "has an id that an earlier line has"))
        elif not rest:
            bad.append(Problem(where, "has an id and nothing else"))
        else:
            table[name] = _Line(where, rest[0].strip())
    return table


def _columns(folder: Path, bad: list[Problem]) -> Mapping[str, Mapping[str, str]]:
    """What is told of utterances, by column and utterance; ``speaker`` is one, unless each utterance has one of its own."""
    speakers: Mapping[str, _Line] = _table(folder / "utt2spk", bad) if (folder / "utt2spk").is_file() else {}
    columns: dict[str, dict[str, str]] = {}
    if any(utterance != line.value for utterance, line in speakers.items()):
        columns["speaker"] = {utterance: line.value for utterance, line in speakers.items()}
    for path in sorted(folder.glob("utt2*")) + sorted(folder.glob("spk2*")):
        column = path.name[4:]
        if path.name in NO_COLUMNS or not path.is_file() or not column:
            continue
        told = {name: line.value for name, line in _table(path, bad).items()}
        if path.name.startswith("spk2"):
            told = {utterance: told[line.value] for utterance, line in speakers.items() if line.value in told}
        columns.setdefault(column, told)
    return columns


def _segment(value: str) -> tuple[str, float, float]:
    """Recording, begin and duration in seconds, of which 0 is to the end."""
    try:
        name, begin, end = value.split()[:3]
        start_s, end_s = float(begin), float(end)
    except ValueError:
        raise DataError("is no segment: an id, a recording's id, begin and end in seconds") from None
    if end_s < 0:  # to the end, as Kaldi has it
        return name, start_s, 0.0
    if not 0 <= start_s < end_s < float("inf"):
        raise DataError("has a segment that does not begin before it ends")
    return name, start_s, end_s - start_s


def _file(value: str) -> str:
    """What ``wav.scp`` names, if it is a file."""
    if value.endswith("|"):
        raise DataError("is a command, which is not run; write what it gives to files, and name these")
    stem, _, position = value.rpartition(":")
    if position.isdecimal() and stem.endswith(".ark"):
        raise DataError("is in an archive of Kaldi's; write it to a file (wav-copy), and name that")
    return value


_LAYOUT = Layout("kaldi", "a folder with wav.scp, or one with such folders for train, dev and test", _find, _read)
index, fields_of, says_splits = _LAYOUT.index, _LAYOUT.fields_of, _LAYOUT.says_splits
