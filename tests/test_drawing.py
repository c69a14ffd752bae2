"""Unknown words and silence: one corpus for every run, and no stretch of noise in two splits."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import feature_file
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.errors import DataError
from hpcnas.data import DATASETS, checking, features, noise, speech_commands
from hpcnas.data.corpus import NO_LABEL, SPLITS, CorpusIndex, DataConfig, Example
from hpcnas.data.splitting import drawn

KEYWORDS = ("yes", "no")
OTHERS = ("bed", "cat")


def write(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16000)), 16000)
    return path


def index(root: Path, **changes) -> CorpusIndex:
    settings = {"path": str(root), "keywords": KEYWORDS, "unknown_percent": 50.0, "silence_percent": 100.0, "window_s": 0.1}
    return speech_commands.index(DataConfig(**{**settings, **changes}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four words of 15 speakers, three of them for validation, four for the test, and noise."""
    root = tmp_path / "speech"
    held_out: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word in (*KEYWORDS, *OTHERS):
        for speaker in range(15):
            write(root / word / f"s{speaker:02d}_nohash_0.wav")
            if speaker >= 8:
                held_out["validation_list.txt" if speaker < 11 else "testing_list.txt"].append(
                    f"{word}/s{speaker:02d}_nohash_0.wav"
                )
    for name, lines in held_out.items():
        (root / name).write_text("\n".join(lines))
    for name, seconds in (("hum", 2.0), ("street", 0.73), ("click", 0.05)):
        write(root / "_background_noise_" / f"{name}.wav", seconds)
    return root


def named(found: CorpusIndex, name: str, split: str) -> list[Example]:
    return [example for example in found.splits[split] if found.class_names[example.label] == name]


@pytest.mark.parametrize("name", DATASETS)
def test_no_corpus_depends_on_a_seed(name):
    assert list(inspect.signature(DATASETS[name].index).parameters) == ["config"]
    assert "seed" not in {field.name for field in dataclasses.fields(DataConfig)}


def test_what_is_drawn_is_the_same_wherever_the_corpus_lies(root, tmp_path):
    elsewhere = shutil.copytree(root, tmp_path / "elsewhere")

    def relative(found: CorpusIndex, top: Path) -> list[Example]:
        return [dataclasses.replace(example, path=example.path.relative_to(top)) for example in found.examples]

    assert relative(index(root), root) == relative(index(elsewhere), elsewhere)


def test_the_rules_are_those_that_are_written_down(root):
    """docs/own-data.md has them. These values must never change: the test split of everybody's corpora would."""
    found = index(root)
    paths = [example.path.relative_to(root).as_posix() for example in named(found, "_unknown_", "test")]
    assert paths == [f"{name}_nohash_0.wav" for name in ("bed/s14", "cat/s11", "cat/s13", "cat/s14")]
    silence = [(e.path.stem, round(e.start_s, 4), round(e.gain, 4)) for e in named(found, "_silence_", "test")[:3]]
    assert silence == [("hum", 1.7618, 0.0186), ("street", 0.6191, 0.1828), ("hum", 1.8757, 0.3276)]


def test_an_added_recording_replaces_one_unknown_at_most(root):
    before = {split: {e.path for e in named(index(root), "_unknown_", split)} for split in SPLITS}
    for number in range(5):
        write(root / "bed" / f"new{number}_nohash_0.wav")
        after = {split: {e.path for e in named(index(root), "_unknown_", split)} for split in SPLITS}
        assert after["test"] == before["test"] and after["validation"] == before["validation"]
        assert len(after["train"]) == len(before["train"]) and len(after["train"] - before["train"]) <= 1
        before = after


def test_more_keywords_add_unknowns_and_silence_and_change_none(root):
    """What is drawn first stays first."""
    few, many = (index(root, unknown_percent=percent, silence_percent=percent) for percent in (25.0, 75.0))
    for split in SPLITS:
        assert {e.path for e in named(few, "_unknown_", split)} < {e.path for e in named(many, "_unknown_", split)}
        silence = named(few, "_silence_", split)
        assert silence == named(many, "_silence_", split)[: len(silence)]


@given(st.lists(st.text("abc", min_size=1), unique=True, max_size=30), st.integers(0, 40))
def test_so_many_are_drawn_in_their_order(names, wanted):
    paths = [Path("/c") / name for name in names]
    chosen = drawn(Path("/c"), paths, wanted)
    assert len(chosen) == min(wanted, len(paths)) and chosen == [path for path in paths if path in chosen]


def test_silence_of_two_splits_never_overlaps(root):
    found = index(root, silence_percent=1000.0)
    taken = [(e.path, e.start_s, e.start_s + 0.1, split) for split in SPLITS for e in named(found, "_silence_", split)]
    assert {path.stem for path, *_ in taken} == {"hum", "street", "click"}
    for path, start, end, split in taken:
        assert not [1 for p, s, e, other in taken if p == path and other != split and s < end - 1e-9 and start < e - 1e-9]
    assert {split for *_, split in taken} == {*SPLITS}
    assert len({(path, start) for path, start, _, split in taken if split == "test"}) > 30, "not one stretch again and again"


@given(st.lists(st.floats(0.01, 50.0), max_size=12), st.floats(0.1, 5.0))
def test_noise_is_divided_without_overlap_and_nothing_is_lost(lengths, window_s):
    whole = [Example(Path(f"{number:02d}.wav"), NO_LABEL, 0.0, length) for number, length in enumerate(lengths)]
    parts = noise.divided(whole, window_s)
    for recording in whole:
        pieces = sorted((p.start_s, p.length_s) for of_split in parts.values() for p in of_split if p.path == recording.path)
        assert pieces[0][0] == 0 and sum(length for _, length in pieces) == pytest.approx(recording.length_s)
        for (start, length), (following, _) in pairwise(pieces):
            assert start + length == pytest.approx(following)
        assert len(pieces) == 1 or min(length for _, length in pieces) > window_s - 1e-6
    if len(lengths) >= 3 or any(length >= 3.1 * window_s for length in lengths):
        assert all(parts.values()) or sum(length < 3 * window_s for length in lengths) < 3


@pytest.mark.parametrize("seconds", [[], [0.25], [0.05, 0.2]])
def test_noise_that_cannot_be_divided_is_refused_with_a_way_out(root, seconds):
    shutil.rmtree(root / "_background_noise_")
    for number, length in enumerate(seconds):
        write(root / "_background_noise_" / f"{number}.wav", length)
    with pytest.raises(DataError, match=r"_background_noise_: .*set data\.silence_percent = 0"):
        index(root)
    assert index(root, silence_percent=0.0).class_names == (*KEYWORDS, "_unknown_")


def test_augmentation_takes_its_noise_from_the_training_part(root, tmp_path):
    data, found = DataConfig(window_s=0.1), index(root)
    of_training = {(e.path, e.start_s, e.length_s) for e in noise.divided(index(root, silence_percent=0.0).noise, 0.1)["train"]}
    assert {(e.path, e.start_s, e.length_s) for e in found.noise} == of_training
    feature_file(tmp_path / "f.h5", found, data)
    assert len(features.load(tmp_path / "f.h5").parts["noise"].labels) == len(found.noise)


def test_noise_for_augmentation_that_the_test_is_made_of_is_a_leak(root):
    found = index(root)
    whole = tuple(Example(e.path, NO_LABEL, 0.0, 2.0) for e in found.noise)
    with pytest.raises(DataError, match=r"in two splits, first .*hum\.wav"):
        checking.checked(dataclasses.replace(found, noise=whole), "here", DataConfig(window_s=0.1))


def test_a_single_class_is_refused_before_anything_is_trained_on_it(root):
    with pytest.raises(DataError, match="yes is the only class; two at least"):
        index(root, keywords=("yes",), unknown_percent=0, silence_percent=0)


def test_silence_in_its_own_folder_and_unknown_words_in_theirs_are_used(root):
    """As somebody has them who follows the published test set."""
    lists = {name: (root / name).read_text() for name in ("validation_list.txt", "testing_list.txt")}
    for name in ("_silence_", "_unknown_"):
        for number in range(3):
            write(root / name / f"{number}.wav")
        for number, text in enumerate(lists):
            with open(root / text, "a") as file:
                file.write(f"\n{name}/{number}.wav")
    found = index(root, unknown_percent=100.0)
    assert [e.path.name for split in SPLITS for e in named(found, "_silence_", split)] == ["2.wav", "0.wav", "1.wav"]
    assert len(named(found, "_unknown_", "train")) == 2 * 8 and len(named(found, "_unknown_", "test")) == 2 * 4
    assert found.noise, "noise for augmentation is whole"
    assert index(root, unknown_percent=0.0, silence_percent=0.0).class_names == KEYWORDS


def test_other_words_that_are_not_drawn_are_counted(root, caplog):
    with caplog.at_level("INFO"):
        index(root)
    assert "15 files not used: 15 of other words (data.unknown_percent = 50)" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_whole_folder_is_the_test_of_what_is_there(root, tmp_path):
    for name in ("yes", "bed", "_unknown_", "_silence_"):
        for number in range(6):
            write(tmp_path / "set" / name / f"{number}.wav")
    found = index(tmp_path / "set", all_is_test=True, unknown_percent=10.0)
    assert found.class_names == ("yes", "_unknown_", "_silence_")
    assert {split: len(examples) for split, examples in found.splits.items()} == {"train": 0, "validation": 0, "test": 24}
    shutil.rmtree(tmp_path / "set" / "_silence_")
    assert index(tmp_path / "set", all_is_test=True).class_names == ("yes", "_unknown_"), "no noise to make silence of"
    write(tmp_path / "set" / "_background_noise_" / "hum.wav", 0.15)
    found = index(tmp_path / "set", all_is_test=True)
    assert len(named(found, "_silence_", "test")) == 6 and not found.noise
    with pytest.raises(DataError, match='no folder for keyword "go"'):
        index(tmp_path / "set", all_is_test=True, keywords=("go", "stop"))
    whole = index(root, all_is_test=True)
    assert len(named(whole, "yes", "test")) == 15, "lists do not count where all is wished"
