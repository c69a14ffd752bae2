"""Lists that divide a corpus, as any system writes them: what they hold out never gets into training."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas.core.errors import DataError
from hpcnas.data import language_folders, speech_commands
from hpcnas.data.corpus import CorpusIndex, DataConfig

WORDS = ("café", "no")
NFD = unicodedata.normalize("NFD", "café")


def made(root: Path, form: str = "NFC", suffix: str = ".wav") -> Path:
    """Two words of four recordings each; the third is for validation, the fourth for the test."""
    for word in WORDS:
        folder = root / unicodedata.normalize(form, word)
        folder.mkdir(parents=True)
        for speaker in "abcd":
            soundfile.write(folder / f"{speaker}_nohash_0{suffix}", 0.1 * np.ones(1600), 16000)
    for name, speaker in (("validation_list.txt", "c"), ("testing_list.txt", "d")):
        (root / name).write_text("".join(f"{word}/{speaker}_nohash_0.wav\n" for word in WORDS), encoding="utf-8")
    return root


def change(path: Path, how: Callable[[str], str], encoding: str = "utf-8") -> None:
    path.write_bytes(how(path.read_text(encoding="utf-8")).encode(encoding))


def keywords(root: Path, **changes) -> CorpusIndex:
    return speech_commands.index(DataConfig(path=str(root), protocol="all", window_s=0.1, **changes))


def languages(root: Path, **changes) -> CorpusIndex:
    return language_folders.index(DataConfig(path=str(root), window_s=0.1, **changes))


def speakers(index: CorpusIndex) -> dict[str, str]:
    return {split: "".join(sorted(example.path.name[0] for example in of_split)) for split, of_split in index.splits.items()}


RIGHT = {"train": "aabb", "validation": "cc", "test": "dd"}


@pytest.mark.parametrize("layout", [keywords, languages])
@pytest.mark.parametrize(
    ("how", "encoding"),
    [
        (lambda text: text, "utf-8-sig"),
        (lambda text: text, "utf-16"),
        (lambda text: text, "utf-16-le"),
        (lambda text: text, "utf-16-be"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text.replace("\n", "\r"), "utf-8"),
        (lambda text: text.replace("\n", "  \n \n"), "utf-8"),
        (lambda text: text.replace("/", "\\"), "utf-8"),
        (lambda text: text.replace("caf", ".\\caf").replace("no/", "./no//"), "utf-8"),
        (lambda text: text.replace("no/", "no/../no/./"), "utf-8"),
        (lambda text: unicodedata.normalize("NFD", text), "utf-8"),
        (lambda text: text.replace(".wav", ".WAV"), "utf-8"),
        (lambda text: text.upper(), "utf-8"),
        (lambda text: text.replace(".wav", ".flac"), "utf-8"),
        (lambda text: text.replace("no/", "data/speech/no/").replace("caf", "D:\\data\\caf"), "utf-8"),
        (lambda text: "".join(f'"{line}"\n' for line in text.split()), "utf-8"),
        (lambda text: "\n\ufeff".join(text.split("\n")), "utf-8"),
        (lambda text: text + text, "utf-8"),
    ],
    ids=[
        "mark", "utf-16", "utf-16 without mark", "big-endian without mark", "CRLF", "CR", "spaces", "backslashes", "dots",
        "up and down", "decomposed", "capital suffix", "capitals", "converted recordings", "folders of another machine",
        "quotes", "marks within", "twice",
    ],
)  # fmt: skip
def test_lists_of_any_system_hold_out_what_they_name(tmp_path, layout, how, encoding):
    root = made(tmp_path / "speech")
    for name in ("validation_list.txt", "testing_list.txt"):
        change(root / name, how, encoding)
    assert speakers(layout(root)) == RIGHT


def test_names_that_a_mac_decomposed_match_lists_that_did_not(tmp_path):
    index = keywords(made(tmp_path / "speech", form="NFD"))
    assert speakers(index) == RIGHT
    assert index.class_names == WORDS, "classes are called the same on every system"
    assert {example.path.parent.name for example in index.examples} == {NFD, "no"}


def test_paths_below_the_root_and_whole_ones_are_understood(tmp_path):
    root = made(tmp_path / "speech")
    change(root / "testing_list.txt", lambda text: "".join(f"{root}/{line}\n" for line in text.split()))
    change(root / "validation_list.txt", lambda text: "".join(f"speech/{line}\n" for line in text.split()))
    assert speakers(keywords(root)) == RIGHT


def test_a_line_may_name_a_recording_through_a_link(tmp_path):
    root = made(tmp_path / "speech")
    (root / "no" / "test").symlink_to(root / "no")
    (root / "no" / "again.wav").symlink_to(root / "no" / "d_nohash_0.wav")
    (root / "testing_list.txt").write_text("café/d_nohash_0.wav\nno/again.wav\n", encoding="utf-8")
    (root / "validation_list.txt").write_text("café/c_nohash_0.wav\nno/test/c_nohash_0.wav\n", encoding="utf-8")
    assert speakers(keywords(root)) == RIGHT


@pytest.mark.parametrize("layout", [keywords, languages])
@pytest.mark.parametrize(
    "line", ["no/nobody_nohash_0.wav", "d_nohash_0.wav", "nobody/d_nohash_0.wav", "no/d_nohash_0.wav no", "# a remark", "."]
)
def test_lines_that_name_no_recording_are_counted_named_and_refused(tmp_path, caplog, layout, line):
    root = made(tmp_path / "speech")
    with open(root / "testing_list.txt", "a") as file:
        file.write(f"{line}\n{line} \n")
    expected = f"testing_list.txt: 2 of 4 lines name no recording, first {line}, {line}"
    with pytest.raises(DataError, match=r'correct or remove them, or set data\.on_bad_file = "skip"') as refused:
        layout(root)
    assert expected in str(refused.value)
    assert speakers(layout(root, on_bad_file="skip")) == RIGHT and expected in caplog.text


def test_a_recording_in_both_lists_is_refused_however_it_is_spelled(tmp_path):
    root = made(tmp_path / "speech")
    change(root / "testing_list.txt", lambda text: text + ".\\no\\c_nohash_0.WAV\n")
    with pytest.raises(DataError, match=r"1 recording.* are in both lists, first no/c_nohash_0.wav; keep each in one"):
        keywords(root)


@pytest.mark.parametrize("layout", [keywords, languages])
def test_one_list_without_the_other_is_refused(tmp_path, layout):
    root = made(tmp_path / "speech")
    (root / "validation_list.txt").unlink()
    with pytest.raises(DataError, match=r"validation_list\.txt: missing"):
        layout(root)


def test_a_list_that_is_no_text_is_refused_with_its_line(tmp_path):
    root = made(tmp_path / "speech")
    change(root / "testing_list.txt", lambda text: f"no/d_nohash_0.wav\n{text}", "latin-1")
    with pytest.raises(DataError, match=r"testing_list.txt, line 2: is not UTF-8 text .*save the file as UTF-8"):
        keywords(root)
    (root / "testing_list.txt").write_bytes(bytes(600))
    with pytest.raises(DataError, match="1 of 1 lines name no recording"):
        keywords(root)


def test_names_that_are_no_text_are_divided_too(tmp_path):
    for word in ("yes", "no"):
        for number in range(40):
            path = tmp_path / word / os.fsdecode(b"\xe4%d.wav" % number)
            path.parent.mkdir(exist_ok=True)
            soundfile.write(os.fsencode(path), 0.1 * np.ones(1600), 16000, format="WAV")
    index = keywords(tmp_path, validation_percent=25.0, test_percent=25.0)
    assert len(index.examples) == 80
