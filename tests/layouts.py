"""Writes one list of recordings in every layout that people keep corpora in."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile


class Clip(NamedTuple):
    """A recording, or a stretch of one."""

    path: Path
    label: str
    speaker: str
    start_s: float = 0.0
    duration_s: float = 0.0

    @property
    def name(self) -> str:
        stretch = f"-{round(1000 * self.start_s):06d}" if self.duration_s else ""
        return f"{self.speaker}-{self.label}-{self.path.stem}{stretch}"

    @property
    def recording(self) -> str:
        return f"{self.path.parent.name}-{self.path.stem}"

    @property
    def info(self):
        return soundfile.info(self.path)


def _lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def manifest(path: Path, clips: Sequence[Clip]) -> Path:
    """NeMo's."""
    rows = [{"audio_filepath": str(c.path), "label": c.label, "speaker": c.speaker} for c in clips]
    for row, c in zip(rows, clips):
        row |= {"offset": c.start_s, "duration": c.duration_s} if c.duration_s else {}
    _lines(path, [json.dumps(row) for row in rows])
    return path


def kaldi(folder: Path, clips: Sequence[Clip]) -> Path:
    whole = not any(c.duration_s for c in clips)
    name = (lambda c: c.name) if whole else (lambda c: c.recording)
    _lines(folder / "wav.scp", [f"{key} {path}" for key, path in {name(c): c.path for c in clips}.items()])
    if not whole:
        ends = [c.start_s + c.duration_s if c.duration_s else -1 for c in clips]
        _lines(folder / "segments", [f"{c.name} {c.recording} {c.start_s} {end}" for c, end in zip(clips, ends)])
    _lines(folder / "utt2spk", [f"{c.name} {c.speaker}" for c in clips])
    _lines(folder / "utt2lang", [f"{c.name} {c.label}" for c in clips])
    return folder


def _recording(c: Clip) -> dict:
    return {
        "id": c.recording,
        "sources": [{"type": "file", "channels": [0], "source": str(c.path)}],
        "sampling_rate": c.info.samplerate,
        "num_samples": c.info.frames,
        "duration": c.info.duration,
        "channel_ids": [0],
    }


def _supervision(c: Clip, start_s: float) -> dict:
    return {
        "id": c.name,
        "recording_id": c.recording,
        "start": start_s,
        "duration": c.duration_s or c.info.duration,
        "channel": 0,
        "language": c.label,
        "speaker": c.speaker,
    }


def cuts(path: Path, clips: Sequence[Clip]) -> Path:
    """Lhotse's."""
    rows = [
        {
            "id": c.name,
            "start": c.start_s,
            "duration": c.duration_s or c.info.duration,
            "channel": 0,
            "supervisions": [_supervision(c, 0.0)],
            "recording": _recording(c),
            "type": "MonoCut",
        }
        for c in clips
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def supervisions(folder: Path, clips: Sequence[Clip], part: str = "all") -> Path:
    """Lhotse's, beside the recordings."""
    recordings = {c.recording: _recording(c) for c in clips}
    _lines(folder / f"words_recordings_{part}.jsonl", [json.dumps(one) for one in recordings.values()])
    _lines(folder / f"words_supervisions_{part}.jsonl", [json.dumps(_supervision(c, c.start_s)) for c in clips])
    return folder / f"words_supervisions_{part}.jsonl"


def table(clips: Sequence[Clip]):
    """Of whole recordings, as ``datasets`` has audio and numbered classes."""
    import pyarrow

    names = sorted({c.label for c in clips})
    features = {
        "audio": {"sampling_rate": 16000, "_type": "Audio"},
        "label": {"names": names, "_type": "ClassLabel"},
        "speaker_id": {"dtype": "string", "_type": "Value"},
    }
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {
        "audio": pyarrow.array([{"bytes": c.path.read_bytes(), "path": c.path.name} for c in clips], sound),
        "label": pyarrow.array([names.index(c.label) for c in clips], pyarrow.int64()),
        "speaker_id": pyarrow.array([c.speaker for c in clips]),
    }
    return pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def arrow(folder: Path, clips: Sequence[Clip], shards: int = 1) -> Path:
    """As ``save_to_disk`` of one split writes it."""
    import pyarrow

    folder.mkdir(parents=True, exist_ok=True)
    whole = table(clips)
    for number in range(shards):
        first, last = (len(clips) * (number + i) // shards for i in (0, 1))
        path = folder / f"data-{number:05d}-of-{shards:05d}.arrow"
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, whole.schema) as writer:
            writer.write_table(whole.slice(first, last - first), max_chunksize=7)
    return folder


def parquet(path: Path, clips: Sequence[Clip]) -> Path:
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table(clips), path, row_group_size=5)
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def shards(folder: Path, clips: Sequence[Clip], prefix: str = "all", count: int = 3) -> Path:
    """Of WebDataset, with whole recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        first, last = (len(clips) * (number + i) // count for i in (0, 1))
        with tarfile.open(folder / f"{prefix}-{number}.tar", "w") as tar:
            for c in clips[first:last]:
                key = f"{c.label}/{c.path.stem}"
                _add(tar, f"{key}{c.path.suffix}", c.path.read_bytes())
                _add(tar, f"{key}.json", json.dumps({"label": c.label, "speaker": c.speaker}).encode())
    return folder


def nemo(folder: Path, clips: Sequence[Clip], count: int = 3) -> Path:
    """Tarred by NeMo: further stretches of a recording are listed by names of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        first, last = (len(clips) * (number + i) // count for i in (0, 1))
        seen: dict[str, int] = {}
        with tarfile.open(folder / f"audio_{number}.tar", "w") as tar:
            for c in clips[first:last]:
                name = f"{c.recording}{c.path.suffix}"
                times = seen[name] = seen.get(name, -1) + 1
                if not times:
                    _add(tar, name, c.path.read_bytes())
                listed = f"{c.recording}-sub{times}{c.path.suffix}" if times else name
                row = {"audio_filepath": listed, "shard_id": number, "label": c.label, "speaker": c.speaker}
                rows.append(row | ({"offset": c.start_s, "duration": c.duration_s} if c.duration_s else {}))
    _lines(folder / "tarred_audio_manifest.json", [json.dumps(row) for row in rows])
    return folder


def words(folder: Path, clips: Sequence[Clip]) -> Path:
    """A folder a class."""
    for c in clips:
        (folder / c.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(c.path, folder / c.label / c.path.name)
    return folder
