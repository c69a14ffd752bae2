"""Lhotse's manifests, in JSON lines, gzipped or not: cuts, or supervisions beside their recordings.

A cut with one supervision is an example, from its begin to its end; where there are several each of them is one. The class is
the supervision's field ``label``, ``command``, ``language`` ..., also among its ``custom`` fields or the cut's, or else its
``text``; or what ``data.label_column`` names. Żelasko et al., 2021 (arXiv:2110.12561).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.core.errors import DataError
from hpcnas.data.corpus import DataConfig
from hpcnas.data.listed import LABEL_COLUMNS, Entry, Layout, Places, label_of, natural
from hpcnas.data.manifest import seconds_in, text_in
from hpcnas.data.problems import Problem

PADDING_COUNTS = False
SUFFIXES = (".jsonl", ".jsonl.gz")
CUTS, SUPERVISIONS, RECORDINGS = "cuts", "supervisions", "recordings"
WHOLE_S = 0.001
"""A cut that differs from its recording by less is all of it."""


@dataclass(frozen=True)
class _Line:
    number: int
    fields: Mapping[str, Any]


def _find(path: Path) -> Sequence[Path]:
    """The cuts of a folder, or else its supervisions; or one file."""
    if path.is_file():
        return [path]
    files = sorted((file for file in path.iterdir() if file.name.endswith(SUFFIXES)), key=natural)
    kinds = {file: _kind(file) for file in files}
    return next((of for kind in (CUTS, SUPERVISIONS) if (of := [file for file in files if kinds[file] == kind])), [])


def _kind(file: Path) -> str:
    """What a manifest lists, by its first line; empty for one that is not Lhotse's."""
    first: Mapping[str, Any] = next((line.fields for line in _lines(file, [])), {})
    if "sources" in first:
        return RECORDINGS
    if "recording_id" in first:
        return SUPERVISIONS
    return CUTS if "supervisions" in first or str(first.get("type", "")).endswith("Cut") else ""


def _read(file: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    places, kind = Places(file.parent, config), _kind(file)
    if kind not in (CUTS, SUPERVISIONS):
        raise DataError(f"{file}: has neither cuts nor supervisions of Lhotse's; name those")
    recordings = _recordings(file, bad) if kind == SUPERVISIONS else {}
    seen: set[str] = set()
    for line in _lines(file, bad):
        try:
            name = str(line.fields.get("id"))
            if name in seen:
                raise DataError("has an id that an earlier line has")
            seen.add(name)
            if kind == CUTS:
                yield from _cut(line.fields, config, places)
                continue
            if (recording := recordings.get(str(line.fields.get("recording_id")))) is None:
                raise DataError("names a recording that is in no manifest of recordings")
            start_s, duration_s = seconds_in(line.fields, "start"), seconds_in(line.fields, "duration")
            yield _entry(recording, start_s, duration_s, line.fields, {}, line.fields.get("channel"), config, places)
        except DataError as error:
            bad.append(Problem(f"{file}, line {line.number}", str(error)))


def _recordings(supervisions: Path, bad: list[Problem]) -> dict[str, Mapping[str, Any]]:
    """By their ids, from the manifest of recordings that is called like that of supervisions."""
    names = [supervisions.name.replace(SUPERVISIONS, RECORDINGS).removesuffix(".gz") + suffix for suffix in ("", ".gz")]
    file = next((path for name in names if (path := supervisions.with_name(name)) != supervisions and path.is_file()), None)
    if file is None:
        raise DataError(f"{supervisions}: has no {' or '.join(names)} beside it, which would tell its recordings")
    found: dict[str, Mapping[str, Any]] = {}
    for line in _lines(file, bad):
        if (name := str(line.fields.get("id"))) in found:
            bad.append(Problem(f"{file}, line {line.number}", "has an id that an earlier line has"))
        found.setdefault(name, line.fields)
    return found


def _cut(cut: Mapping[str, Any], config: DataConfig, places: Places) -> Iterator[Entry]:
    kind, recording = cut.get("type", "MonoCut"), cut.get("recording")
    if kind != "MonoCut":
        raise DataError(f"is a {kind}, which is put together when it is read; save it as audio")
    if not isinstance(recording, dict):
        raise DataError("has features and no recording; name cuts with recordings")
    start_s, duration_s = seconds_in(cut, "start"), seconds_in(cut, "duration")
    supervisions = cut.get("supervisions") or [{}]
    if not isinstance(supervisions, list) or not all(isinstance(one, dict) for one in supervisions):
        raise DataError("has supervisions that are no list of objects")
    for one in supervisions:
        if len(supervisions) > 1:  # each where it is, as trim_to_supervisions does it
            own_s = one.get("start", 0)
            first_s = start_s + (own_s if isinstance(own_s, (int, float)) else 0)
            length_s = seconds_in(one, "duration")
        else:
            first_s, length_s = start_s, duration_s
        yield _entry(recording, max(0.0, first_s), length_s, one, cut.get("custom"), cut.get("channel"), config, places)


def _entry(
    recording: Mapping[str, Any], start_s: float, duration_s: float, supervision: Mapping[str, Any], of_cut: object,
    channel: object, config: DataConfig, places: Places,
) -> Entry:  # fmt: skip
    own = supervision.get("custom")
    fields = {**(of_cut if isinstance(of_cut, dict) else {}), **(own if isinstance(own, dict) else {}), **supervision}
    columns = (config.label_column,) if config.label_column else (*LABEL_COLUMNS, "text")
    label = label_of(text_in(fields, columns, "label"))
    path = places.of(_file(recording, channel))
    length_s = seconds_in(recording, "duration")
    if not start_s and abs(duration_s - length_s) < WHOLE_S:
        duration_s = 0.0
    return Entry(label, path, start_s, duration_s, fields)


def _file(recording: Mapping[str, Any], channel: object) -> str:
    """The audio file of a recording that is one; raises DataError."""
    sources = recording.get("sources")
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        raise DataError("is in several files, one a channel; save it as one")
    (source,) = sources
    if source.get("type") != "file":
        raise DataError(f"is a source of type {json.dumps(source.get('type'))}, which is not read; save it as a file")
    if transforms := recording.get("transforms"):
        names = sorted({str(one.get("name") if isinstance(one, dict) else one) for one in transforms})
        raise DataError(f"has changes that were never saved ({', '.join(names)}); save it as audio")
    channels = source.get("channels") or [0]
    if len(channels) > 1 and channel is not None and sorted(channel if isinstance(channel, list) else [channel]) != channels:
        raise DataError(f"takes one channel of {len(channels)}; save it as audio of its own")
    return text_in(source, ("source",), "path")


def _lines(file: Path, bad: list[Problem]) -> Iterator[_Line]:
    """The objects of a manifest; ``bad`` receives lines that are none, and a file that ends too early."""
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb") as text:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError):
                    fields = None
                if isinstance(fields, dict):
                    yield _Line(number, fields)
                else:
                    bad.append(Problem(f"{file}, line {number}", "is no JSON object"))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        bad.append(Problem(str(file), f"is cut off or damaged ({error})"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


_LAYOUT = Layout("lhotse", "a manifest of cuts or supervisions, or a folder of them", _find, _read)
index, fields_of, says_splits = _LAYOUT.index, _LAYOUT.fields_of, _LAYOUT.says_splits
