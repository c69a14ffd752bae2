"""Recordings in folders: all are found, once, and what is not used is counted."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas.core.errors import DataError
from hpcnas.data import language_folders, speech_commands
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig

HALVES = {"validation_percent": 30.0, "test_percent": 30.0, "source_pattern": "(.+?)_"}


def write(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.ones(round(seconds * 16000)), 16000, format="OGG" if path.suffix == ".ogg" else "WAV")
    return path


def fill(folder: Path, count: int = 20, suffix: str = ".wav") -> Path:
    for number in range(count):
        write(folder / f"s{number:02d}_{folder.name}{suffix}")
    return folder


def languages(root: Path, **changes) -> CorpusIndex:
    return language_folders.index(DataConfig(**{"path": str(root), "window_s": 0.1, **HALVES, **changes}))


def words(root: Path, **changes) -> CorpusIndex:
    return speech_commands.index(DataConfig(**{"path": str(root), "window_s": 0.1, "protocol": "all", **HALVES, **changes}))


LAYOUTS = pytest.mark.parametrize("layout", [languages, words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of twenty recordings each."""
    for name in ("de", "fr"):
        fill(tmp_path / "speech" / name)
    return tmp_path / "speech"


@LAYOUTS
def test_recordings_behind_links_are_found_wherever_the_link_is(root, tmp_path, layout):
    for name in ("de", "fr"):
        fill(tmp_path / "disk" / f"{name}2")
        (root / name / "more").symlink_to(tmp_path / "disk" / f"{name}2")
    fill(tmp_path / "disk" / "it")
    (root / "it").symlink_to(tmp_path / "disk" / "it")
    (root / "it" / "one_link.wav").symlink_to(write(tmp_path / "disk" / "far" / "away.wav"))
    index = layout(root)
    assert index.class_names == ("de", "fr", "it") and len(index.examples) == 101


@LAYOUTS
def test_links_in_circles_and_a_second_way_to_a_recording_add_nothing(root, layout, caplog):
    (root / "de" / "up").symlink_to(root / "de")
    (root / "de" / "deep").mkdir()
    (root / "de" / "deep" / "top").symlink_to("..")
    (root / "de" / "self").symlink_to("self")
    (root / "fr" / "again.wav").symlink_to("s00_fr.wav")
    (root / "fr" / "again").symlink_to(root / "fr" / "deep")
    (root / "fr" / "deep").mkdir()
    write(root / "fr" / "deep" / "s77_fr.wav")
    index = layout(root)
    assert len(index.examples) == 41
    assert "again" not in {part for example in index.examples for part in example.path.parts}, (
        "the recording's own name is kept"
    )
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@LAYOUTS
def test_a_recording_of_two_classes_is_refused(root, layout):
    (root / "fr" / "s00_de.wav").symlink_to(root / "de" / "s00_de.wav")
    with pytest.raises(DataError, match=r"1 recording\(s\) have two labels, first .*s00_de.wav \(de and fr\); keep one label"):
        layout(root)


@LAYOUTS
def test_links_to_nowhere_are_told_or_left_out(root, layout):
    (root / "fr" / "gone.wav").symlink_to("nowhere.wav")
    os.mkfifo(root / "fr" / "pipe.wav")
    with pytest.raises(DataError, match=r"2 recording.*1 is a link to nowhere: .*gone\.wav; 1 is no file: .*pipe\.wav"):
        layout(root)
    assert len(layout(root, on_bad_file="skip").examples) == 40


@LAYOUTS
def test_a_folder_that_may_not_be_read_is_named(root, layout, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "fr":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"speech/fr: cannot be read \(Permission denied\)"):
        layout(root)


@LAYOUTS
def test_suffixes_in_capitals_folders_in_folders_and_folders_called_like_recordings_are_understood(root, layout):
    write(root / "de" / "s30_A.WAV")
    write(root / "de" / "speaker" / "day" / "s31_b.Ogg")
    write(root / "de" / "take.wav" / "s32_c.wav")
    assert len(layout(root).examples) == 43


@LAYOUTS
def test_what_is_found_and_not_used_is_counted_by_reason_in_one_line(root, layout, caplog):
    for number in range(3):
        (root / "de" / f"a{number}.m4a").touch()
    (root / "fr" / "b.WMA").touch()
    fill(root / "_extra_", 4)
    write(root / "outside.wav")
    (root / "de" / "._s00_de.wav").touch()
    fill(root / "fr" / ".trash", 2)
    for name in ("README.md", "LICENSE", ".DS_Store", "words.txt"):
        (root / name).touch()
        (root / "de" / name).touch()
    assert len(layout(root).examples) == 40
    (line,) = [record.getMessage() for record in caplog.records if "not used" in record.getMessage()]
    assert line == (
        f"{root}: 13 files not used: 4 in _extra_, 3 .m4a (not read; convert them), 3 hidden recordings, "
        "1 .txt, 1 .wma (not read; convert them), 1 in the root, outside all folders"
    ) or set(line.split(": ")[-1].split(", ")) == {
        "4 in _extra_", "3 .m4a (not read; convert them)", "3 hidden recordings", "1 .txt", "1 .wma (not read; convert them)",
        "1 in the root", "outside all folders",
    }  # fmt: skip


@LAYOUTS
def test_nothing_is_said_of_what_every_corpus_has(root, layout, caplog):
    for folder in (root, root / "de", root / "_background_noise_"):
        folder.mkdir(exist_ok=True)
        for name in ("README.md", "LICENSE", "Thumbs.db", ".gitignore"):
            (folder / name).touch()
    layout(root)
    assert not caplog.records


@LAYOUTS
def test_a_class_in_a_format_that_is_not_read_says_so(root, layout):
    for path in (root / "fr").iterdir():
        path.rename(path.with_suffix(".m4a"))
    with pytest.raises(DataError, match=r"fr: a folder without recordings \(.wav, .*\) \(holds 20 \.m4a: convert them\)"):
        layout(root)


@LAYOUTS
def test_folders_that_differ_in_the_form_of_accents_alone_are_one_class(root, layout):
    for form in ("NFC", "NFD"):
        fill(root / unicodedata.normalize(form, "né"))
    index = layout(root)
    assert index.class_names == ("de", "fr", "né") and len(index.examples) == 80


@LAYOUTS
def test_folders_that_differ_in_capitals_alone_are_warned_of(root, layout, caplog):
    fill(root / "FR")
    assert layout(root).class_names == ("FR", "de", "fr")
    assert "classes differ in capitals alone: FR and fr; is each a class of its own?" in caplog.text


def test_the_dev_set_of_voxlingua_beside_its_languages_is_held_out_and_said(root, caplog):
    fill(root / "dev" / "fr", 5)
    fill(root / "dev" / "xx", 5)
    index = languages(root)
    assert index.class_names == ("de", "fr") and len(index.examples) == 40
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{root / 'dev'}: ") and f"python -m hpcnas.evaluate RUN {root / 'dev'}" in line and "train" in line
    judged = languages(root / "dev", all_is_test=True)
    assert judged.class_names == ("fr", "xx") and len(judged.splits["test"]) == 10


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "Dev", "TEST"), ("train", "valid", "test")])
def test_folders_of_splits_go_by_several_names(tmp_path, names):
    for split, name in zip(SPLITS, names):
        for language in ("de", "fr"):
            write(tmp_path / name / language / f"{split}.wav")
    index = languages(tmp_path)
    assert [{e.path.stem for e in index.splits[split]} for split in SPLITS] == [{split} for split in SPLITS]
    assert language_folders.says_splits(DataConfig(path=str(tmp_path)))


def test_folders_beside_those_of_splits_are_counted(tmp_path, caplog):
    for split in SPLITS:
        fill(tmp_path / split / "de", 2)
        fill(tmp_path / split / "fr", 2)
    fill(tmp_path / "it", 3)
    assert languages(tmp_path).class_names == ("de", "fr")
    assert "3 files not used: 3 in it" in caplog.text


@LAYOUTS
def test_a_class_may_be_called_like_a_split(root, layout):
    for name in ("test", "dev", "train"):
        fill(root / name)
    assert layout(root).class_names == ("de", "dev", "fr", "test", "train")


def test_a_class_called_like_a_split_may_have_folders_of_its_own(root):
    fill(root / "test" / "speaker1")
    assert languages(root).class_names == ("de", "fr", "test")


def test_noise_in_folders_and_behind_links_is_found(root, tmp_path):
    write(root / "_background_noise_" / "street" / "cars.wav", 2.0)
    (root / "_background_noise_" / "far").symlink_to(write(tmp_path / "far" / "hum.wav", 2.0).parent)
    assert {noise.path.name for noise in languages(root).noise} == {"cars.wav", "hum.wav"}
