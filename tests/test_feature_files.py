"""How ranks make a feature file together, and what becomes of damaged and unfinished ones."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers import feature_file

from hpcnas import config as configuration
from hpcnas.core.errors import DataError, RunError
from hpcnas.data import audio, features, manifest, speech_commands
from hpcnas.data.corpus import SPLITS, DataConfig
from hpcnas.data.features import BadFile, Division, FilterBank, Share
from hpcnas.data.problems import Problem
from hpcnas.runtime import pieces
from hpcnas.runtime.features import LEFT_FOR_S, load_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.store.sealed import is_intact, seal


@pytest.fixture
def config(tones, tmp_path):
    given = ["data.name=speech_commands", f"data.path={tones}"]
    given += ['data.keywords=["low", "mid", "high"]', f"data.cache={tmp_path}"]
    return configuration.load(None, given)


@pytest.fixture
def index(config):
    return speech_commands.index(config.data)


@pytest.mark.parametrize("ranks", [1, 3, 200])
def test_shares_of_any_number_of_ranks_come_to_the_same_file(index, config, tmp_path, ranks):
    one, many = tmp_path / "one.h5", tmp_path / "many.h5"
    feature_file(one, index, config.data)
    feature_file(many, index, config.data, shares=ranks)
    assert one.read_bytes() == many.read_bytes()
    seal(one)
    assert is_intact(one) and np.asarray(features.load(one).parts["train"].frames).any(axis=1).all()


@pytest.mark.parametrize("damage", ["flipped", "short", "long"])
def test_a_share_that_arrives_other_than_it_was_written_is_refused(index, config, tmp_path, damage):
    path = tmp_path / "f.h5"
    made = feature_file(path, index, config.data, shares=3)
    content = bytearray(made[1].path.read_bytes())
    content[len(content) // 2] ^= 1 if damage == "flipped" else 0
    made[1].path.write_bytes({"flipped": content, "short": content[:-100], "long": content + b"more"}[damage])
    with pytest.raises(DataError, match="1-of-3: is not as it was written"):
        features.assemble(path, Division.of(index, config.data, 3), FilterBank(), made)


def test_a_damaged_file_is_noticed_and_made_anew(config, tmp_path, caplog):
    before = np.array(load_corpus(SoloWorld(), config).train.frames)
    (path,) = (tmp_path / "features").glob("*.h5")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\xff\xff" + whole[len(whole) // 2 + 2 :])
    with caplog.at_level(logging.WARNING):
        after = load_corpus(SoloWorld(), config).train.frames
    assert "is damaged, and is made anew" in caplog.text and path.read_bytes() == whole
    np.testing.assert_array_equal(before, after)
    assert [p.name for p in (tmp_path / "features").iterdir()] == [path.name], "no share is left"


def test_what_killed_jobs_left_is_swept_and_what_others_are_writing_is_not(config, tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    host = socket.gethostname()
    names = {
        f".0123456789abcdef.h5.{host}-{os.getpid()}.part.00001": True,
        f".0123456789abcdef.h5.{host}-4194305.part": False,  # above the largest number of a process
        f".0123456789abcdef.h5.{host}-4194305.part.00002": False,
        ".0123456789abcdef.h5.other.cluster-7.part.00003": True,
        ".0123456789abcdef.h5.gone.cluster-7.part.00003": False,
    }
    for name in names:
        (folder / name).touch()
    then = time.time() - LEFT_FOR_S - 60
    os.utime(folder / ".0123456789abcdef.h5.gone.cluster-7.part.00003", (then, then))
    load_corpus(SoloWorld(), config)
    assert {p.name for p in folder.glob(".*")} == {name for name, stays in names.items() if stays}


def files_of_pieces(tmp_path):
    return sorted(path.name for path in (tmp_path / "features").glob(".*.pieces/*"))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "EXAMPLES", 5)


def cut_off_after(count, monkeypatch):
    """Let the making of features end in the middle of a piece."""
    extract, made = features.extract, []

    def until(path, *arguments):
        made.append(path)
        if len(made) > count:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt
        return extract(path, *arguments)

    monkeypatch.setattr(features, "extract", until)
    return lambda: monkeypatch.setattr(features, "extract", extract)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_job_goes_on_with_what_another_one_has_made(config, index, tmp_path, monkeypatch, caplog, small_pieces, ranks):
    whole = tmp_path / "whole.h5"
    feature_file(whole, index, config.data)
    seal(whole)
    restore = cut_off_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        load_corpus(SoloWorld(), config)
    restore()
    assert len(files_of_pieces(tmp_path)) == 8, "frames of four pieces, and what is to be said of them"
    made, extract = [], features.extract
    monkeypatch.setattr(features, "extract", lambda path, *more: made.append(path) or extract(path, *more))
    clock = iter([*[0.0] * ranks, 0.06])  # seconds, at the start of each rank and at the end
    monkeypatch.setattr("hpcnas.runtime.features.time", SimpleNamespace(monotonic=lambda: next(clock), time=time.time))
    with caplog.at_level(logging.INFO):
        together(ranks, config)
    examples = [example for split in index.splits.values() for example in split]
    all_ = pieces.number_of(len(examples))
    assert f"features: 4 of {all_} pieces are there from an earlier job" in caplog.text and len(made) == all_ - 4
    hours = sum(example.length_s or config.data.window_s for example in examples) / 3600
    rate = (all_ - 4) / all_ * hours / 0.001
    assert f"in 0.1 s ({rate:.1f} h a minute)" in caplog.text, "of the pieces that this job made"
    (path,) = (tmp_path / "features").glob("*.h5")
    assert path.read_bytes() == whole.read_bytes() and files_of_pieces(tmp_path) == []


class ThreadWorld:
    """A world whose ranks are threads of one process."""

    def __init__(self, rank, size, barrier, values):
        self.rank, self.size, self._barrier, self._values = rank, size, barrier, values

    def allgather(self, value):
        self._values[self.rank] = value
        self._barrier.wait(60)
        values = list(self._values)
        self._barrier.wait(60)
        return values

    def bcast(self, value, root=0):
        return self.allgather(value)[root]


def together(ranks, config):
    """Threads that load a corpus as so many ranks."""
    barrier, values = Barrier(ranks), [None] * ranks
    with ThreadPoolExecutor(ranks) as pool:
        list(pool.map(lambda rank: load_corpus(ThreadWorld(rank, ranks, barrier, values), config), range(ranks)))


@pytest.mark.parametrize("spoil", ["frames", "json"])
def test_a_piece_that_is_not_as_it_was_written_is_made_anew(config, tmp_path, monkeypatch, caplog, small_pieces, spoil):
    restore = cut_off_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        load_corpus(SoloWorld(), config)
    restore()
    (piece,) = (tmp_path / "features").glob(f".*.pieces/0001.{spoil}")
    piece.write_bytes(piece.read_bytes()[:-3])
    with caplog.at_level(logging.INFO):
        load_corpus(SoloWorld(), config)
    assert "features: 2 of " in caplog.text and files_of_pieces(tmp_path) == []


@pytest.mark.parametrize("other", ["whole", "damaged", "none"])
def test_a_piece_that_is_gone_is_no_failure_only_where_another_job_was_faster(config, index, tmp_path, monkeypatch, other):
    assemble, name = features.assemble, features.fingerprint(index, config.data, FilterBank())

    def late(path, division, *more):
        assemble(path, division, *more)
        seal(path)
        if other != "none":
            made = path.read_bytes()
            (tmp_path / "features" / f"{name}.h5").write_bytes(made if other == "whole" else made[:-1])
        raise FileNotFoundError("a piece is gone")

    monkeypatch.setattr(features, "assemble", late)
    if other == "whole":
        assert len(load_corpus(SoloWorld(), config).train)
    else:
        with pytest.raises(RunError, match="a piece is gone"):
            load_corpus(SoloWorld(), config)


def test_pieces_that_nobody_goes_on_with_are_swept(config, tmp_path):
    old, new = (tmp_path / "features" / f".{name}.h5.pieces" for name in ("0123456789abcdef", "fedcba9876543210"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "0000.frames").touch()
    then = time.time() - pieces.KEPT_FOR_S - 60
    os.utime(old, (then, then))
    load_corpus(SoloWorld(), config)
    assert new.exists() and not old.exists()


def test_what_is_said_of_a_piece_is_read_as_it_was_written(tmp_path):
    told = Problem("a\\x00b.wav", "is odd"), Problem("b.wav", "is no audio")
    share = Share(tmp_path, b"", (BadFile("train", 3, told[1]),), (told[0],), (told[1],))

    def extract(path):
        path.write_bytes(b"frames")
        return replace(share, path=path, sha256=hashlib.sha256(b"frames").digest())

    made = pieces.make(tmp_path, 7, extract)
    assert pieces.known(tmp_path, 7) == made and made.bad == share.bad and pieces.known(tmp_path, 8) is None


def test_what_is_odd_or_left_out_is_counted_at_every_start(config, tones, tmp_path, caplog):
    corpus = shutil.copytree(tones, tmp_path / "corpus")
    low = sorted((corpus / "low").iterdir())
    for path in low[:2]:
        path.write_bytes(path.read_bytes()[:40] + bytes(4) + path.read_bytes()[44:])
    low[2].write_bytes(b"no audio")
    sound = soundfile.read(low[3])[0]
    soundfile.write(low[3], 32767 * sound, 16000, subtype="FLOAT")
    changed = ["data.name=speech_commands", f"data.path={corpus}", "data.protocol=all", f"data.cache={tmp_path}"]
    config = configuration.load(None, [*changed, "data.on_bad_file=skip"])
    for _ in range(2):
        caplog.clear()
        load_corpus(SoloWorld(), config)
        text = caplog.text
        assert "1 recording(s) cannot be used (1 cannot be read as audio" in text and "left out" in text
        assert f"2 with a header that was never finished, read to the end: {low[0]}, {low[1]}" in text
        assert "3 recording(s) are used, but are odd (" in text
        assert f"1 with samples far above full scale, such as integers stored as floats: {low[3]}" in text
        assert len(caplog.records) == 2, "a line for what is left out, one for what is odd"


def test_stretches_in_any_order_are_what_they_are_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.mp3", 0.1 * rng.standard_normal(8 * 16000), 16000, bitrate_mode="VARIABLE")
    lines = []
    for split in SPLITS:
        start = {"train": 4.0, "validation": 2.0, "test": 0.0}[split]
        rows = [("a", start + 1.0), ("b", start), ("a", start + 0.5)]
        path = tmp_path / f"{split}.jsonl"
        lines.append(str(path))
        keys = ("label", "offset")
        values = [{"audio_filepath": "long.mp3", "duration": 0.5, **dict(zip(keys, row))} for row in rows]
        path.write_text("\n".join(map(json.dumps, values)))
    data = DataConfig(name="manifest", manifests=tuple(lines), window_s=0.5)
    index = manifest.index(data)
    feature_file(tmp_path / "f.h5", index, data, shares=2)
    for split, recordings in features.load(tmp_path / "f.h5").parts.items():
        for example, start in zip(index.splits.get(split, ()), recordings.starts):
            alone = features.log_mel(audio.read(example.path, example.start_s, 0.5), FilterBank()).T
            np.testing.assert_array_equal(recordings.frames[start : start + 50], alone.astype(np.float16))
