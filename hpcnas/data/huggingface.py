"""Data sets of Hugging Face's ``datasets`` on disk: the Arrow files of ``save_to_disk``, or Parquet as the hub has it.

Audio is a column of structs with ``bytes`` and ``path``, or of binaries or paths. Bytes in Arrow files are read where they are;
the row groups of Parquet are compressed, and decoded one by one. Columns of numbered classes go by their names.
https://huggingface.co/docs/datasets
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import audio, problems
from hpcnas.data.corpus import DataConfig
from hpcnas.data.inside import Bytes, Cell, Source, first_line, library, row_group
from hpcnas.data.listed import LABEL_COLUMNS, Entry, Layout, Places, label_of, natural
from hpcnas.data.manifest import PATH_COLUMNS, text_in
from hpcnas.data.problems import Problem

PADDING_COUNTS = False
CUT = "is cut off or damaged"
END = b"\xff\xff\xff\xff\0\0\0\0"
"""Of a stream of record batches."""


def _find(path: Path) -> Sequence[Path]:
    """The tables at or below a path, without those that ``map`` has cached there."""
    if path.is_file():
        return [path]
    files = [
        file for suffix in (".arrow", ".parquet") for file in path.rglob(f"*{suffix}") if not file.name.startswith("cache-")
    ]
    return sorted(files, key=natural)


def _read(file: Path, config: DataConfig, bad: list[Problem]) -> Iterator[Entry]:
    pyarrow = library()
    places = Places(file.parent, config)
    try:
        for where, recordings, fields in (_parquet if file.suffix == ".parquet" else _arrow)(file, config):
            for number, (recording, of_row) in enumerate(zip(recordings, fields)):
                try:
                    yield _entry(recording, of_row, config, places)
                except DataError as error:
                    if isinstance(recording, (Bytes, Cell)):
                        bad.append(problems.of(recording.path, error))
                    else:
                        bad.append(Problem(f"{file}, {where}, row {number}", str(error)))
    except (pyarrow.ArrowException, OSError) as error:
        bad.append(Problem(str(file), f"{CUT} ({first_line(error)})"))


def _entry(recording: Bytes | Cell | str | None, fields: Mapping[str, object], config: DataConfig, places: Places) -> Entry:
    if recording is None:
        raise DataError("has no audio")
    columns = (config.label_column,) if config.label_column else (*LABEL_COLUMNS, "text")
    label = label_of(text_in(fields, columns, "label"))
    source: Source = places.of(recording) if isinstance(recording, str) else recording
    assert not isinstance(source, str)
    # A cell's row group has just been decoded; later it would be once more.
    return Entry(label, source, fields=fields, length=audio.length(source) if isinstance(source, Cell) else None)


Rows = tuple[str, Sequence[Bytes | Cell | str | None], Sequence[Mapping[str, object]]]
"""Some rows: where they are, their audio, and their columns."""


def _arrow(file: Path, config: DataConfig) -> Iterator[Rows]:
    """Batch by batch of a file that is mapped: only pages that are looked at are read."""
    pyarrow = library()
    with pyarrow.memory_map(str(file)) as mapped:
        whole = mapped.read_buffer()
        try:
            reader, is_stream = pyarrow.ipc.open_stream(whole), True
        except pyarrow.ArrowInvalid:
            reader, is_stream = pyarrow.ipc.open_file(whole), False
        column, features = _audio_column(file, reader.schema, config), _features(reader.schema)
        batches = reader if is_stream else (reader.get_batch(number) for number in range(reader.num_record_batches))
        first = 0
        for number, batch in enumerate(batches):
            audio_of, paths = _bytes_and_paths(batch.column(column))
            recordings: list[Bytes | Cell | str | None] = [*paths]
            if audio_of is not None:
                for row, (start, size) in enumerate(_places(file, audio_of, whole)):
                    if size >= 0:
                        recordings[row] = Bytes(file, _name(first + row, paths[row]), start, size)
            yield f"batch {number}", recordings, _fields(batch, column, features)
            first += batch.num_rows
        if is_stream and bytes(whole.slice(max(0, whole.size - len(END)))) != END:
            raise pyarrow.ArrowInvalid("the mark of its end is missing")


def _parquet(file: Path, config: DataConfig) -> Iterator[Rows]:
    """Row group by row group."""
    pyarrow = library()
    with pyarrow.parquet.ParquetFile(file, memory_map=True) as table:
        schema = table.schema_arrow
        column, features = _audio_column(file, schema, config), _features(schema)
        kind, first = schema.field(column).type, 0
        is_struct = pyarrow.types.is_struct(kind)
        bytes_column = f"{column}.bytes" if is_struct else column
        others = [field.name for field in schema if field.name != column]
        if is_struct:
            others += [f"{column}.{inner.name}" for inner in kind if inner.name == "path"]
        for number in range(table.num_row_groups):
            rows = table.read_row_group(number, columns=others).combine_chunks()
            count = table.metadata.row_group(number).num_rows
            paths = [None] * count
            if f"{column}.path" in others:
                paths = rows.column(column).combine_chunks().flatten()[0].to_pylist()
            recordings: list[Bytes | Cell | str | None] = [*paths]
            if pyarrow.types.is_string(kind):
                recordings = table.read_row_group(number, columns=[column]).column(0).to_pylist()
            else:
                values = row_group(file, number, bytes_column)
                for row, (_, size) in enumerate(_places(file, values, None)):
                    if size >= 0:
                        name = _name(first + row, paths[row])
                        recordings[row] = Cell(file, name, bytes_column, number, row, size)
            yield f"row group {number}", recordings, _fields(rows, column, features, count)
            first += count


def _name(row: int, path: str | None) -> str:
    """What a recording is called in its table: by its row, and as its file was called if that is known."""
    last = path.replace("\\", "/").rpartition("/")[2] if path else ""
    return f"{row:09d}/{last or 'audio'}"


def _audio_column(file: Path, schema: Any, config: DataConfig) -> str:
    """The name of the column with recordings."""
    types, pyarrow = library().types, library()

    def holds_audio(field: Any) -> bool:
        if types.is_struct(field.type):
            return field.type.get_field_index("bytes") >= 0
        return types.is_binary(field.type) or (field.name in PATH_COLUMNS and types.is_string(field.type))

    if config.path_column:
        found = [field for field in schema if field.name == config.path_column]
    else:
        found = sorted(filter(holds_audio, schema), key=lambda field: not types.is_struct(field.type))
    if not found:
        what = f"column {config.path_column}" if config.path_column else "column with audio (bytes and path, binary, or a path)"
        raise DataError(f"{file}: has no {what}; it has {', '.join(schema.names)}; set data.path_column")
    kind = found[0].type
    if not (holds_audio(found[0]) or types.is_string(kind)):
        raise DataError(f"{file}: its column {found[0].name} has {kind}, which is no audio; set data.path_column")
    if types.is_struct(kind) and kind.field("bytes").type not in (pyarrow.binary(), pyarrow.large_binary()):
        raise DataError(f"{file}: its column {found[0].name} has bytes of type {kind.field('bytes').type}; save them as binary")
    return str(found[0].name)


def _bytes_and_paths(values: Any) -> tuple[Any, list[str | None]]:
    """Of a column of audio; the first is None if it has paths alone."""
    types = library().types
    if types.is_struct(values.type):
        inner = dict(zip((field.name for field in values.type), values.flatten()))
        return inner["bytes"], inner["path"].to_pylist() if "path" in inner else [None] * len(values)
    return (None, values.to_pylist()) if types.is_string(values.type) else (values, [None] * len(values))


def _places(file: Path, values: Any, whole: Any) -> Iterator[tuple[int, int]]:
    """Where each value of binaries begins in its file (``whole``, if it is mapped), and its size; -1 for none."""
    wide = np.int64 if values.type == library().large_binary() else np.int32
    _, offsets, content = values.buffers()
    if offsets is None or not len(values):
        return
    edges = np.frombuffer(offsets, wide)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    base = 0
    if whole is not None and content is not None:
        base = content.address - whole.address
        if not 0 <= base <= whole.size:
            raise DataError(
                f"{file}: has compressed batches, in which nothing can be found; save it without compression, or as Parquet"
            )
    for start, end, is_there in zip(edges[:-1].tolist(), edges[1:].tolist(), values.is_valid().to_pylist()):
        yield base + start, end - start if is_there else -1


def _features(schema: Any) -> Mapping[str, Sequence[str]]:
    """Names of numbered classes, by column."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: one["names"] for name, one in told.items() if isinstance(one, dict) and one.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _fields(
    rows: Any, audio_column: str, features: Mapping[str, Sequence[str]], count: int = 0
) -> Sequence[Mapping[str, object]]:
    """The columns of each row but its audio and what is nested."""
    types = library().types
    columns: dict[str, list[Any]] = {}
    for field in rows.schema:
        if field.name == audio_column or types.is_nested(field.type) or types.is_binary(field.type):
            continue
        values = rows.column(field.name).to_pylist()
        if names := features.get(field.name):
            values = [names[value] if isinstance(value, int) and 0 <= value < len(names) else None for value in values]
        columns[field.name] = values
    return [{name: values[row] for name, values in columns.items()} for row in range(rows.num_rows or count)]


_LAYOUT = Layout("huggingface", "an .arrow or .parquet file, or a folder of them as save_to_disk makes it", _find, _read)
index, fields_of, says_splits = _LAYOUT.index, _LAYOUT.fields_of, _LAYOUT.says_splits
