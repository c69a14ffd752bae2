"""How ranks make a feature file together, and what becomes of damaged and unfinished ones."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas.core.errors import DataError
from hpcnas.data import audio, features, manifest, speech_commands
from hpcnas.data.corpus import SPLITS, DataConfig
from hpcnas.data.features import FilterBank
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


def shares(folder, index, config, ranks):
    return [features.extract(folder / str(rank), index, config.data, FilterBank(), rank, ranks) for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [1, 3, 200])
def test_shares_of_any_number_of_ranks_come_to_the_same_file(index, config, tmp_path, ranks):
    one, many = tmp_path / "one.h5", tmp_path / "many.h5"
    features.assemble(one, index, config.data, FilterBank(), shares(tmp_path, index, config, 1))
    features.assemble(many, index, config.data, FilterBank(), shares(tmp_path, index, config, ranks))
    assert one.read_bytes() == many.read_bytes()
    seal(one)
    assert is_intact(one) and np.asarray(features.load(one).parts["train"].frames).any(axis=1).all()


@pytest.mark.parametrize("damage", ["flipped", "short", "long"])
def test_a_share_that_arrives_other_than_it_was_written_is_refused(index, config, tmp_path, damage):
    made = shares(tmp_path, index, config, 3)
    content = bytearray(made[1].path.read_bytes())
    content[len(content) // 2] ^= 1 if damage == "flipped" else 0
    made[1].path.write_bytes({"flipped": content, "short": content[:-100], "long": content + b"more"}[damage])
    with pytest.raises(DataError, match="1: is not as it was written"):
        features.assemble(tmp_path / "f.h5", index, config.data, FilterBank(), made)


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
    features.assemble(tmp_path / "f.h5", index, data, FilterBank(), shares(tmp_path, index, SimpleNamespace(data=data), 2))
    for split, recordings in features.load(tmp_path / "f.h5").parts.items():
        for example, start in zip(index.splits.get(split, ()), recordings.starts):
            alone = features.log_mel(audio.read(example.path, example.start_s, 0.5), FilterBank()).T
            np.testing.assert_array_equal(recordings.frames[start : start + 50], alone.astype(np.float16))
