"""Lists of recordings as people's programs write them: each line is read as it is meant, or told with its file and number."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import manifest
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig

LABELS = ("de", "fr")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with ``train-de.wav``, ``test-fr.wav`` and so on, a second each, and manifests that name them."""
    for split in SPLITS:
        for label in LABELS:
            soundfile.write(tmp_path / f"{split}-{label}.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
        write(tmp_path, split, "jsonl", "\n".join(usual(split)))
    return tmp_path


def usual(split: str) -> list[str]:
    return [json.dumps({"audio_filepath": f"{split}-{label}.wav", "label": label}) for label in LABELS]


def write(folder: Path, split: str, suffix: str, text: str, encoding: str = "utf-8") -> None:
    (folder / f"{split}.{suffix}").write_bytes(text.encode(encoding))


def index(folder: Path, train: str = "jsonl", **changes) -> CorpusIndex:
    """Of three manifests, that for training with the suffix ``train``."""
    names = (f"train.{train}", "validation.jsonl", "test.jsonl")
    return manifest.index(DataConfig(**{"manifests": tuple(str(folder / name) for name in names), **changes}))


def labels(found: CorpusIndex, split: str = "train") -> list[str]:
    return [found.class_names[example.label] for example in found.splits[split]]


def table(separator: str, *rows: tuple[str, ...]) -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


HEADER = ("path", "sentence", "label")


@pytest.mark.parametrize("said", ['"who is there? she asked', 'he said "no" twice', '"', "word " * 40000, "a,b;c", "  "])
@pytest.mark.parametrize(("suffix", "separator"), [("tsv", "\t"), ("csv", "\t")])
def test_between_tabs_quotes_are_text(clips, said, suffix, separator):
    rows = ("train-de.wav", said, "de"), ("train-fr.wav", "x", "fr")
    write(clips, "train", suffix, table(separator, HEADER, *rows))
    assert labels(index(clips, suffix)) == ["de", "fr"]


@pytest.mark.parametrize("said", ['"he said ""no"""', '"two\nlines"', '"a, b"', f'"{"word " * 40000}"', 'he said "no"'])
@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("csv", ";"), ("tsv", ",")])
def test_between_commas_and_semicolons_quotes_are_those_of_csv(clips, said, suffix, separator):
    said = said.replace(",", separator)
    rows = ("train-de.wav", said, "de"), ("train-fr.wav", "x", "fr")
    write(clips, "train", suffix, table(separator, HEADER, *rows))
    assert labels(index(clips, suffix)) == ["de", "fr"]


def test_a_table_between_tabs_whose_header_is_quoted_is_quoted(clips):
    write(clips, "train", "tsv", '"path"\t"label"\n"train-de.wav"\t"de"\n"train-fr.wav"\t"fr"\n')
    assert labels(index(clips, "tsv")) == ["de", "fr"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_manifests_of_any_system_are_read(clips, suffix, end, encoding):
    separator = "\t" if suffix == "tsv" else ","
    text = table(separator, HEADER[::2], ("train-de.wav", "de"), ("train-fr.wav", "fr"))
    text = "\n".join(usual("train")) + "\n" if suffix == "jsonl" else text
    write(clips, "train", suffix, text.replace("\n", end), encoding)
    assert labels(index(clips, suffix)) == ["de", "fr"]


def test_what_spreadsheets_add_is_no_harm(clips):
    write(clips, "train", "csv", "sep=;\n\npath;label;;\ntrain-de.wav;de;;\n;;;\ntrain-fr.wav;fr;;;;\n\n")
    assert labels(index(clips, "csv")) == ["de", "fr"]


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        ("csv", "path,label\ntrain-de.wav\n", "has 1 fields where the header has 2: {}, line 2"),
        ("csv", 'path,label\n"train\n-de.wav",de,x\n', "has 3 fields where the header has 2: {}, line 3"),
        ("tsv", "path\tlabel\ntrain-de.wav\tde\nx\ty\tz\n", "has 3 fields where the header has 2: {}, line 3"),
        ("csv", "path,label,label\n", '{}: names the column "label" twice'),
        ("csv", "name,label\n", "{}: has no column audio_filepath or path or .*; its header has name, label"),
        ("tsv", "train-de.wav\tde\n", "{}: has no column audio_filepath or .*; its header has train-de.wav, de"),
        ("csv", "", "{}: has no column .*; its header has nothing"),
        ("csv", 'path,label\n"train-de.wav,de\ntrain-fr.wav,fr\n', "{}, line 3: is no CSV .unexpected end of data"),
        ("csv", 'path,label\n"train"-de.wav,de\n', "{}, line 2: is no CSV .* see the quotes there and before"),
        ("jsonl", "{}\n", "has no label .*: {}, line 1"),
        ("jsonl", "\nnonsense\n[1]\n7\n", "3 is no JSON object: {}, line 2, .*line 3, .*line 4"),
        ("jsonl", '{"path": "a", "label": "x", "label": "y"}\n', 'names "label" twice: {}, line 1'),
        ("jsonl", '{\n"path": "a",\n"label": "x"\n}\n', "{}: its JSON objects go over several lines"),
        ("json", "[1, 2", "{}: is no JSON"),
        ("json", '[7, {"path": "train-de.wav"}]', "is no JSON object: {}, entry 1"),
        ("json", "[" * 100000, "{}: is no JSON .it is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file_and_line(clips, suffix, text, message):
    write(clips, "train", suffix, text)
    path = str(clips / f"train.{suffix}")
    with pytest.raises(DataError, match=message.replace("{}", re.escape(path))):
        index(clips, suffix)


def test_separators_that_json_may_hold_end_no_line(clips):
    said = "one\u2028two\u2029three\x85four"
    lines = [json.dumps({**json.loads(line), "text": said}, ensure_ascii=False) for line in usual("train")]
    write(clips, "train", "jsonl", "\n".join(lines))
    assert labels(index(clips)) == ["de", "fr"]
    write(clips, "train", "tsv", table("\t", HEADER, ("train-de.wav", said, "de"), ("train-fr.wav", said, "fr")))
    assert labels(index(clips, "tsv")) == ["de", "fr"]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects_is_as_good_as_lines_of_them(clips, indent):
    write(clips, "train", "json", json.dumps([json.loads(line) for line in usual("train")], indent=indent))
    assert labels(index(clips, "json")) == ["de", "fr"]


@pytest.mark.parametrize("nothing", ["NaN", "null", '""', '" "'])
def test_a_label_that_is_missing_is_no_class(clips, nothing):
    write(clips, "train", "jsonl", "\n".join([*usual("train"), f'{{"audio_filepath": "train-de.wav", "label": {nothing}}}']))
    with pytest.raises(DataError, match=r"1 has no label .*train\.jsonl, line 3"):
        index(clips)


@pytest.mark.parametrize(
    ("given", "expected"),
    [('"nan"', "nan"), ('"NaN"', "NaN"), ("7", "7"), ("7.0", "7"), ('"7"', "7"), ('"null"', "null"), ('" x "', "x")],
)
def test_labels_that_look_like_numbers_or_nothing_are_text(clips, given, expected):
    for split in SPLITS:
        line = f'{{"audio_filepath": "{split}-fr.wav", "label": {given}}}'
        write(clips, split, "jsonl", "\n".join([usual(split)[0], line]))
    assert set(index(clips).class_names) == {"de", expected}


@pytest.mark.parametrize("given", ["true", "Infinity", "1e999", '["de"]', "{}"])
def test_labels_that_are_no_text_are_told(clips, given):
    write(clips, "train", "jsonl", "\n".join([*usual("train"), f'{{"audio_filepath": "train-de.wav", "label": {given}}}']))
    with pytest.raises(DataError, match="has a label that is no text"):
        index(clips)


@pytest.mark.parametrize("missing", ["NaN", "null", '""'])
def test_times_that_are_missing_mean_the_whole_recording(clips, missing):
    lines = [line[:-1] + f', "offset": {missing}, "duration": {missing}}}' for line in usual("train")]
    write(clips, "train", "jsonl", "\n".join(lines))
    assert [(e.start_s, e.length_s) for e in index(clips).splits["train"]] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("given", ['"nan"', "Infinity", "-1", "true", "[]", '"soon"', "1" + 400 * "0"])
def test_times_that_are_none_are_told(clips, given):
    write(clips, "train", "jsonl", "\n".join([*usual("train"), usual("train")[0][:-1] + f', "duration": {given}}}']))
    with pytest.raises(DataError, match=r"an offset or duration that is .*train\.jsonl, line 3"):
        index(clips)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_paths_of_any_system_are_found(clips, form, written):
    folder = clips / unicodedata.normalize(form, "école") / unicodedata.normalize("NFD", "é")
    folder.mkdir(parents=True)
    (clips / "train-de.wav").rename(folder / "train-de.wav")
    path = unicodedata.normalize(written, r"école\é\train-de.wav")
    lines = [json.dumps({"audio_filepath": path, "label": "de"}, ensure_ascii=False), usual("train")[1]]
    write(clips, "train", "jsonl", "\n".join(lines))
    assert labels(index(clips)) == ["de", "fr"]


def test_labels_that_differ_in_the_form_of_accents_alone_are_one_class(clips):
    for split, form in zip(SPLITS, ("NFC", "NFD", "NFC")):
        line = json.dumps({"audio_filepath": f"{split}-de.wav", "label": unicodedata.normalize(form, "français")})
        write(clips, split, "jsonl", "\n".join([line, usual(split)[1]]))
    assert index(clips).class_names == ("fr", "français")


def test_classes_that_differ_in_capitals_alone_are_warned_of(clips, caplog):
    for split in SPLITS:
        line = json.dumps({"audio_filepath": f"{split}-fr.wav", "label": "DE"})
        write(clips, split, "jsonl", "\n".join([usual(split)[0], line]))
    assert index(clips).class_names == ("DE", "de")
    assert "classes differ in capitals alone: DE and de" in caplog.text


def test_a_line_that_stands_twice_is_used_once_and_said(clips, caplog):
    write(clips, "test", "jsonl", "\n".join(usual("test") * 3))
    assert labels(index(clips), "test") == ["de", "fr"]
    assert "test split: 4 recording(s) are there more than once, and used once" in caplog.text


@pytest.mark.parametrize(
    ("stretch", "is_refused"),
    [((0.0, 0.0), True), ((0.4, 0.4), True), ((0.5, 0.5), False), ((0.4995, 0.5), False)],
    ids=["the whole", "overlapping", "behind it", "rounded"],
)
@pytest.mark.parametrize("split", SPLITS)
def test_one_stretch_with_two_labels_is_refused(clips, split, stretch, is_refused):
    offset, duration = stretch
    first, other = json.loads(usual(split)[0]), json.loads(usual(split)[1])
    lines = [{**first, "duration": 0.5}, other, {**first, "label": "fr", "offset": offset, "duration": duration}]
    write(clips, split, "jsonl", "\n".join(map(json.dumps, lines)))
    if not is_refused:
        assert len(index(clips, window_s=0.1).splits[split]) == 3
        return
    with pytest.raises(DataError, match=rf"1 recording\(s\) have two labels, first .*{split}-de.wav \(de and fr\); keep one"):
        index(clips, window_s=0.1)


def test_noise_that_a_manifest_holds_out_is_not_for_augmentation(clips):
    (clips / "_background_noise_").mkdir()
    for name in ("hum", "street"):
        shutil.copy(clips / "train-de.wav", clips / "_background_noise_" / f"{name}.wav")
    for split, name in zip(SPLITS, ("hum", "street", "street")):
        line = {"audio_filepath": f"_background_noise_/{name}.wav", "label": "silence", "duration": 0.4}
        line["offset"] = 0.5 if split == "test" else 0.0
        write(clips, split, "jsonl", "\n".join([*usual(split), json.dumps(line)]))
    assert [one.path.stem for one in index(clips).noise] == ["hum"]


def test_one_manifest_can_be_the_test(clips):
    found = manifest.index(DataConfig(manifests=(str(clips / "train.jsonl"),), all_is_test=True))
    assert labels(found, "test") == ["de", "fr"] and not found.splits["train"]
    with pytest.raises(ConfigError, match="must name one file"):
        index(clips, all_is_test=True)


def test_a_manifest_for_two_splits_and_a_keyword_named_twice_are_refused(clips):
    with pytest.raises(ConfigError, match=r'data\.keywords names "yes" twice'):
        DataConfig(keywords=("yes", "no", "yes"))
    with pytest.raises(ConfigError, match=r'data\.keywords names "é" twice'):
        DataConfig(keywords=("é", "no", unicodedata.normalize("NFD", "é")))
    with pytest.raises(ConfigError, match=r'data\.manifests names "a\.jsonl" twice'):
        DataConfig(manifests=("a.jsonl", "b.jsonl", "a.jsonl"))
    (clips / "link.jsonl").symlink_to(clips / "test.jsonl")
    with pytest.raises(ConfigError, match=r"data\.manifests: link\.jsonl and test\.jsonl are the same file"):
        manifest.index(DataConfig(manifests=tuple(str(clips / f"{name}.jsonl") for name in ("train", "link", "test"))))
