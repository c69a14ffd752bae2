"""Corpora in folders of languages and in manifests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import feature_file

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import audio, features, language_folders, manifest
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig

LANGUAGES = ("de", "fr")


def write(path: Path, seconds: float = 2.0, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16000)), 16000, subtype=subtype)
    return path


def names(index: CorpusIndex) -> dict[str, list[str]]:
    return {split: [example.path.name for example in index.splits[split]] for split in SPLITS}


def folders(path: Path, **changes) -> CorpusIndex:
    return language_folders.index(DataConfig(**{"path": str(path), **changes}))


def test_languages_in_folders_of_splits(tmp_path):
    for split, suffix in (("train", "wav"), ("dev", "flac"), ("test", "ogg")):
        for language in LANGUAGES:
            write(tmp_path / split / language / "deep" / f"a.{suffix}")
    index = folders(tmp_path)
    assert index.class_names == LANGUAGES
    assert names(index) == {"train": ["a.wav"] * 2, "validation": ["a.flac"] * 2, "test": ["a.ogg"] * 2}
    assert all(e.length_s == pytest.approx(2.0) for e in index.examples)
    assert {e.length_s for e in folders(tmp_path, window_s=3.0).examples} == {3.0}, "padded to a window"
    assert {e.length_s for e in folders(tmp_path, longest_s=1.5).examples} == {1.5}


def test_languages_divided_by_lists(tmp_path):
    for language in LANGUAGES:
        for name in "abc":
            write(tmp_path / language / f"{name}.wav")
    (tmp_path / "validation_list.txt").write_text("de/b.wav\nfr/b.wav\n")
    (tmp_path / "testing_list.txt").write_text("de/c.wav\nfr/c.wav\n")
    assert names(folders(tmp_path)) == {"train": ["a.wav"] * 2, "validation": ["b.wav"] * 2, "test": ["c.wav"] * 2}


def test_languages_divided_by_source_keep_each_in_one_split(tmp_path, caplog):
    for language in LANGUAGES:
        for source in range(30):
            for segment in range(2):
                write(tmp_path / language / f"video{source}__U__S{segment}.wav", 0.1)
    index = folders(tmp_path, validation_percent=25.0, test_percent=25.0, window_s=0.1)
    sources = {s: {(e.label, e.path.name.partition("__U__")[0]) for e in index.splits[s]} for s in SPLITS}
    assert sum(map(len, sources.values())) == 60, "no source in two splits"
    assert all(len(sources[split]) >= 5 for split in SPLITS) and not caplog.records
    assert names(index) == names(folders(tmp_path, validation_percent=25.0, test_percent=25.0, window_s=0.1))


def test_recordings_that_do_not_tell_their_source_are_warned_of(tmp_path, caplog):
    for language in LANGUAGES:
        for number in range(40):
            write(tmp_path / language / f"{number}.wav", 0.1)
    folders(tmp_path, validation_percent=25.0, test_percent=25.0, window_s=0.1)
    assert "80 of 80 recordings do not tell their speaker" in caplog.text
    caplog.clear()
    folders(tmp_path, validation_percent=25.0, test_percent=25.0, window_s=0.1, source_pattern=r"(\d+)")
    assert not caplog.records
    for pattern, message in ((r"\d+", "needs a group"), ("(", "no regular expression")):
        with pytest.raises(ConfigError, match=message):
            folders(tmp_path, source_pattern=pattern)


def test_a_language_without_recordings_and_one_missing_in_a_split_are_named(tmp_path):
    for split in ("train", "validation", "test"):
        for language in LANGUAGES:
            write(tmp_path / split / language / "a.wav")
    (tmp_path / "test" / "fr" / "a.wav").rename(tmp_path / "test" / "de" / "b.wav")
    with pytest.raises(DataError, match="test/fr: a folder without recordings"):
        folders(tmp_path)
    (tmp_path / "test" / "fr").rmdir()
    with pytest.raises(DataError, match="the test split has no fr"):
        folders(tmp_path)


def test_a_whole_folder_can_be_one_test_split_of_some_of_the_languages(tmp_path):
    write(tmp_path / "fr" / "a.wav")
    index = folders(tmp_path, all_is_test=True)
    assert names(index) == {"train": [], "validation": [], "test": ["a.wav"]}


def manifests(folder: Path, lines: dict[str, list[dict]] | None = None, **changes) -> CorpusIndex:
    """Three JSON-lines manifests, by default with two recordings each, and their index."""
    lines = lines or {}
    paths = []
    for split in SPLITS:
        for language in LANGUAGES:
            write(folder / f"{split}-{language}.wav")
        usual = [{"audio_filepath": f"{split}-{language}.wav", "label": language} for language in LANGUAGES]
        path = folder / f"{split}.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in usual + lines.get(split, [])) + "\n")
        paths.append(str(path))
    return manifest.index(DataConfig(**{"manifests": tuple(paths), **changes}))


def test_manifests_in_json_lines_with_stretches_of_recordings(tmp_path):
    write(tmp_path / "long.wav", 10.0)
    stretch = {"audio_filepath": "long.wav", "label": "fr", "offset": 2.0, "duration": 3.5}
    index = manifests(tmp_path, {"train": [stretch]})
    assert index.class_names == LANGUAGES and len(index.examples) == 7
    last = index.splits["train"][-1]
    assert (last.start_s, last.length_s, last.path.name) == (2.0, 3.5, "long.wav")


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_manifests_as_tables_with_an_audio_root(tmp_path, suffix, separator):
    paths = []
    for split in SPLITS:
        rows = [separator.join(("client_id", "path", "locale"))]
        for language in LANGUAGES:
            write(tmp_path / "clips" / f"{split}-{language}.wav")
            rows.append(separator.join(("x", f"{split}-{language}.wav", language)))
        paths.append(tmp_path / f"{split}.{suffix}")
        paths[-1].write_text("\n".join(rows))
    index = manifest.index(DataConfig(manifests=tuple(map(str, paths)), path=str(tmp_path / "clips")))
    assert index.class_names == LANGUAGES and len(index.examples) == 6
    by_name = DataConfig(manifests=tuple(map(str, paths)), path=str(tmp_path / "clips"), label_column="client_id")
    with pytest.raises(DataError, match="x is the only class"):
        manifest.index(by_name)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"audio_filepath": "train-de.wav"}, "has no label"),
        ({"label": "de"}, "has no path"),
        ({"audio_filepath": "gone.wav", "label": "de"}, "names a file that does not exist"),
        ({"audio_filepath": "train-de.wav", "label": "de", "offset": 99}, "ends before its offset"),
        ({"audio_filepath": "train-de.wav", "label": "de", "offset": "x"}, "is no number"),
        ({"audio_filepath": "train-de.wav", "label": "de", "duration": -1}, "negative"),
        ({"audio_filepath": "train-de.wav", "label": "d\u0007e"}, "control characters"),
        ({"audio_filepath": "train-de.wav", "label": ["de"]}, 'has a label that is no text (["de"])'),
        ({"audio_filepath": "x" * 5000, "label": "de"}, "names a file that does not exist"),
        ({"audio_filepath": "text.wav", "label": "de"}, "cannot be read as audio"),
    ],
)
def test_lines_that_cannot_be_used_are_summed_up_or_left_out(tmp_path, caplog, line, reason):
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(DataError, match="cannot be used") as raised:
        manifests(tmp_path, {"train": [line]})
    assert reason in str(raised.value) and 'data.on_bad_file = "skip"' in str(raised.value)
    index = manifests(tmp_path, {"train": [line]}, on_bad_file="skip")
    assert len(index.examples) == 6 and reason in caplog.text


def test_a_recording_in_two_splits_is_a_leak(tmp_path):
    with pytest.raises(DataError, match=r"1 recording\(s\) are in two splits.*train-de.wav"):
        manifests(tmp_path, {"test": [{"audio_filepath": "train-de.wav", "label": "de"}]})


def test_manifests_that_are_missing_are_named(tmp_path):
    with pytest.raises(ConfigError, match="must name three files"):
        manifest.index(DataConfig(manifests=("a", "b")))
    with pytest.raises(DataError, match="gone"):
        manifest.index(DataConfig(manifests=tuple(str(tmp_path / f"gone{number}.jsonl") for number in range(3))))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_samples_sounds_the_same(tmp_path, subtype):
    expected = audio.read(write(tmp_path / "a.wav", subtype="PCM_16"))
    np.testing.assert_allclose(audio.read(write(tmp_path / "b.wav", subtype=subtype)), expected, atol=0.01)


def test_mp3_and_wrong_extensions_are_read_for_what_they_are(tmp_path):
    soundfile.write(tmp_path / "a.mp3", 0.1 * np.sin(np.arange(32000) / 10), 16000, format="MP3")
    (tmp_path / "a.mp3").rename(tmp_path / "b.wav")
    assert audio.duration_s(tmp_path / "b.wav") == pytest.approx(2.0, abs=0.2)
    assert np.abs(audio.read(tmp_path / "b.wav")).max() == pytest.approx(0.1, abs=0.02)


def test_stretches_of_one_recording_in_two_splits_must_not_overlap(tmp_path):
    write(tmp_path / "long.wav", 10.0)
    lines = [{"audio_filepath": "long.wav", "label": "de", "offset": offset, "duration": 3.0} for offset in (0.0, 2.0, 5.0)]
    assert len(manifests(tmp_path, {"train": [lines[0]], "test": [lines[2]]}).examples) == 8
    with pytest.raises(DataError, match="in two splits"):
        manifests(tmp_path, {"train": [lines[0]], "test": [lines[1]]})


def test_what_lies_behind_a_short_stretch_is_not_read(tmp_path):
    write(tmp_path / "long.wav", 10.0)
    index = manifests(tmp_path, {"train": [{"audio_filepath": "long.wav", "label": "de", "offset": 1.0, "duration": 0.5}]})
    data = DataConfig(window_s=1.0)
    (share,) = feature_file(tmp_path / "f.h5", index, data)
    assert not share.bad
    train = features.load(tmp_path / "f.h5").parts["train"]
    stretch = train.frames[train.starts[-1] : train.starts[-1] + train.lengths[-1]]
    assert (train.lengths[-1], train.spoken[-1]) == (100, 50)
    assert stretch[:48].mean() > -12 and stretch[54:].max() < -15
