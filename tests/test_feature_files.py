"""How ranks make a feature file together, and what becomes of damaged and unfinished ones."""

from __future__ import annotations

import logging
import os
import socket
import time

import numpy as np
import pytest

from hpcnas import config as configuration
from hpcnas.core.errors import DataError
from hpcnas.data import features, speech_commands
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
