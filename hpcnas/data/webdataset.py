"""Tar shards, as WebDataset and NeMo write them: recordings are read where they are, nothing is unpacked.

Files of one name belong together: ``yes/anna.wav`` with ``yes/anna.json``, whose keys are columns, or with small files that are
columns by their suffix, such as ``anna.cls`` or ``anna.txt``. NeMo has the columns of all shards ``audio_0.tar`` ... in
``tarred_audio_manifest.json`` beside them. A tar is followed from header to header, and must have its end.
https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import audio
from hpcnas.data.corpus import DataConfig
from hpcnas.data.inside import Bytes
from hpcnas.data.listed import LABEL_COLUMNS, Entry, Layout, label_of, natural
from hpcnas.data.manifest import PATH_COLUMNS, seconds_in, text_in
from hpcnas.data.problems import Problem, printable
from hpcnas.data.rows import rows

PADDING_COUNTS = False
COLUMNS = (*LABEL_COLUMNS, "cls", "text", "txt")
"""Where the class may be, in this order."""
NEMO = "tarred_audio_manifest.json"
LARGEST = 1 << 20
"""Bytes of a file with columns."""
CUT = "is cut off: it has no end"


@dataclass
class _Sample:
    """Files of one name."""

    recordings: list[Bytes] = field(default_factory=list)
    columns: dict[str, tarfile.TarInfo] = field(default_factory=dict)


def _find(path: Path) -> Sequence[Path]:
    """The shards at or below a path; NeMo's list of its shards stands for them."""
    if path.is_file():
        return [path]
    lists = sorted(path.rglob(NEMO))
    folders = {found.parent for found in lists}
    shards = [shard for shard in path.rglob("*.tar") if shard.is_file() and shard.parent not in folders]
    return [*lists, *sorted(shards, key=natural)]


def _read(file: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    if file.name.endswith((".json", ".jsonl")):
        yield from _of_nemo(file, config, bad)
        return
    columns = (config.label_column,) if config.label_column else COLUMNS
    samples: dict[str, _Sample] = {}
    for member in _members(file, bad):
        key, suffix = _divided(member.name)
        sample = samples.setdefault(key, _Sample())
        if f".{suffix.rpartition('.')[2]}" in audio.SUFFIXES:
            sample.recordings.append(Bytes(file, member.name, member.offset_data, member.size))
        elif member.size <= LARGEST:
            sample.columns[suffix] = member
    with open(file, "rb") as shard:
        for key, sample in samples.items():
            try:
                if len(sample.recordings) != 1:
                    raise DataError("is no recording" if not sample.recordings else "is several recordings of one name")
                fields: dict[str, object] = {}
                for suffix, member in sample.columns.items():
                    shard.seek(member.offset_data)
                    fields |= _told(suffix, shard.read(member.size))
                label = label_of(text_in(fields, columns, "label"))
                is_stretch = "offset" in fields
                offset_s, duration_s = (seconds_in(fields, name) if is_stretch else 0.0 for name in ("offset", "duration"))
                yield Entry(label, sample.recordings[0], offset_s, duration_s, fields)
            except DataError as error:
                bad.append(Problem(printable(str(file / key)), str(error)))


def _divided(name: str) -> tuple[str, str]:
    """Key and suffix of a name: the suffix begins at its last part's first dot."""
    folder, slash, last = name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _told(suffix: str, content: bytes) -> Mapping[str, object]:
    """The columns that a file beside a recording gives."""
    try:
        text = content.decode("utf-8-sig")
        if suffix != "json":
            return {suffix: text.strip()}
        fields = json.loads(text)
    except UnicodeDecodeError:
        return {}  # an image, an array
    except (ValueError, RecursionError):
        raise DataError("has a .json that is none") from None
    if not isinstance(fields, dict):
        raise DataError("has a .json that is no object")
    return fields


def _members(file: Path, bad: list[Problem]) -> Iterator[tarfile.TarInfo]:
    """The files in a shard, each name once; ``bad`` receives what is wrong with it."""
    seen: set[str] = set()
    try:
        size = file.stat().st_size
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                if not member.isreg() or Path(member.name).name.startswith("."):
                    continue
                if member.offset_data + member.size > size:
                    bad.append(Problem(str(file), CUT))
                    return
                if member.name in seen:
                    bad.append(Problem(printable(f"{file}/{member.name}"), "has a name that an earlier file of the shard has"))
                    continue
                seen.add(member.name)
                if member.issparse():
                    bad.append(Problem(printable(f"{file}/{member.name}"), "is stored in pieces (sparse)"))
                    continue
                yield member
            end = tar.offset
        with open(file, "rb") as whole:
            whole.seek(end)
            if (last := whole.read(tarfile.BLOCKSIZE)) != tarfile.NUL * tarfile.BLOCKSIZE:
                bad.append(Problem(str(file), CUT if len(last) < tarfile.BLOCKSIZE else "is damaged in its middle"))
    except tarfile.ReadError as error:
        with open(file, "rb") as whole:
            is_compressed = whole.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
        if is_compressed:
            raise DataError(f"{file}: is compressed, so that nothing in it can be found; decompress it") from error
        bad.append(Problem(str(file), CUT if "unexpected end" in str(error) else f"is no tar ({error})"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def _of_nemo(manifest: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    """The lines of NeMo's list; each says in which shard its recording is."""

    @lru_cache(2)
    def shard(number: int) -> Mapping[str, Bytes]:
        file = manifest.with_name(f"audio_{number}.tar")
        if not file.is_file():
            return {}
        return {one.name: Bytes(file, one.name, one.offset_data, one.size) for one in _members(file, bad)}

    path_columns = (config.path_column,) if config.path_column else PATH_COLUMNS
    columns = (config.label_column,) if config.label_column else COLUMNS
    for row in rows(manifest, (path_columns, columns)):
        try:
            if row.problem:
                raise DataError(row.problem)
            number = row.fields.get("shard_id")
            if isinstance(number, bool) or not isinstance(number, int):
                raise DataError("does not say its shard_id")
            name, members = text_in(row.fields, path_columns, "path"), shard(number)
            # Further stretches of a recording have a name of their own, and it is there once.
            source = members.get(name) or members.get(re.sub(r"-sub\d+(?=\.\w+$)", "", name))
            if source is None:
                raise DataError("names a recording that is not in its shard" if members else "names a shard that is not there")
            label = label_of(text_in(row.fields, columns, "label"))
            offset_s, duration_s = seconds_in(row.fields, "offset"), seconds_in(row.fields, "duration")
            yield Entry(label, source, offset_s, duration_s, row.fields)
        except DataError as error:
            bad.append(Problem(f"{manifest}, {row.where}", str(error)))


_LAYOUT = Layout("webdataset", f"a tar shard, a folder of them, or NeMo's {NEMO}", _find, _read)
index, fields_of, says_splits = _LAYOUT.index, _LAYOUT.fields_of, _LAYOUT.says_splits
