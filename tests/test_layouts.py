"""One corpus as people keep it in Lhotse, Kaldi, Hugging Face's data sets, tar shards: the same split and the same features."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import layouts
import numpy as np
import pytest
import soundfile
from helpers import feature_file as made_features
from layouts import Clip

from hpcnas import config as configuration
from hpcnas.core.corpus_identity import changes
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import DATASETS, audio, groups, identity, inside
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.data.features import FilterBank
from hpcnas.data.inside import Bytes

WORDS = ("no", "stop", "yes")
SPEAKERS = tuple(f"s{number:02d}" for number in range(16))
SHARES = {"validation_percent": 25.0, "test_percent": 25.0, "window_s": 0.3, "protocol": "all"}
BANK = FilterBank(bands=8)

needs_arrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="pyarrow is not installed: pip install 'hpcnas[parquet]'")


def sound(path: Path, seed: int, seconds: float = 0.3, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)), rate)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Clip]:
    """Three words by sixteen speakers, in WAV and FLAC, as Speech Commands has them."""
    root = tmp_path_factory.mktemp("corpus")
    found = []
    for word in WORDS:
        for number, speaker in enumerate(SPEAKERS):
            suffix = "flac" if number % 3 else "wav"
            path = sound(root / word / f"{speaker}_nohash_0.{suffix}", len(found))
            found.append(Clip(path, word, speaker))
    return found


UNDIVIDED: dict[str, tuple[str, Callable[[Path, Sequence[Clip]], Path]]] = {
    "a folder a word": ("speech_commands", layouts.words),
    "kaldi": ("kaldi", layouts.kaldi),
    "cuts": ("lhotse", lambda folder, clips: layouts.cuts(folder / "cuts.jsonl.gz", clips)),
    "supervisions": ("lhotse", layouts.supervisions),
    "webdataset": ("webdataset", layouts.shards),
    "nemo": ("webdataset", layouts.nemo),
    "arrow": ("huggingface", lambda folder, clips: layouts.arrow(folder, clips, shards=2)),
    "parquet": ("huggingface", lambda folder, clips: layouts.parquet(folder / "data.parquet", clips)),
}
"""How all of a corpus is written, and which data set reads it: it divides by speaker."""
LAYOUTS = [pytest.param(name, marks=needs_arrow if UNDIVIDED[name][0] == "huggingface" else ()) for name in UNDIVIDED]


def config_of(kind: str, **changes) -> DataConfig:
    return DataConfig(**{"name": UNDIVIDED[kind][0], **SHARES, **changes})


def written(kind: str, folder: Path, clips: Sequence[Clip], **changes) -> DataConfig:
    return config_of(kind, path=str(UNDIVIDED[kind][1](folder, clips)), **changes)


def index(config: DataConfig) -> CorpusIndex:
    return DATASETS[config.name].index(config)


def feature_file(path: Path, config: DataConfig, shares: int = 2) -> bytes:
    """A checksum of the whole file, as so many ranks make it."""
    made_features(path, index(config), config, BANK, shares)
    return hashlib.sha256(path.read_bytes()).digest()


def split(found: CorpusIndex) -> dict[str, list[tuple[str, str]]]:
    return {s: [(found.class_names[e.label], e.path.stem) for e in found.splits[s]] for s in SPLITS}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_same_corpus_has_one_split_and_the_same_bytes_of_features_in_every_layout(kind, clips, tmp_path):
    expected = written("a folder a word", tmp_path / "words", clips)
    config = written(kind, tmp_path / "kept", clips)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    if kind != "nemo":  # which joins folder and file by a hyphen
        assert split(index(config)) == split(index(expected))
    assert feature_file(tmp_path / "b" / "f", config) == feature_file(tmp_path / "a" / "f", expected)


SPLIT_NAMES = {"train": "train", "validation": "dev", "test": "test-clean"}
NAMED: dict[str, Callable[[Path, str, Sequence[Clip]], object]] = {
    "kaldi": lambda root, part, clips: layouts.kaldi(root / part, clips),
    "cuts": lambda root, part, clips: layouts.cuts(root / f"words_cuts_{part}.jsonl.gz", clips),
    "supervisions": lambda root, part, clips: layouts.supervisions(root, clips, part),
    "webdataset": lambda root, part, clips: layouts.shards(root, clips, part),
    "nemo": lambda root, part, clips: layouts.nemo(root / part, clips),
    "arrow": lambda root, part, clips: layouts.arrow(root / part, clips),
    "parquet": lambda root, part, clips: layouts.parquet(root / f"{part}-00000-of-00001.parquet", clips),
}
IN_SPLITS = [pytest.param(name, marks=needs_arrow if UNDIVIDED[name][0] == "huggingface" else ()) for name in NAMED]


def of_split(clips: Sequence[Clip], name: str) -> list[Clip]:
    first, last = {"train": (0, 10), "validation": (10, 13), "test": (13, 16)}[name]
    return [c for c in clips if c.speaker in SPEAKERS[first:last]]


@pytest.mark.parametrize("kind", IN_SPLITS)
def test_lists_that_are_named_as_splits_are_these_splits(kind, clips, tmp_path, caplog):
    lists = [str(layouts.manifest(tmp_path / f"{s}.jsonl", of_split(clips, s))) for s in SPLITS]
    expected = DataConfig(name="manifest", manifests=tuple(lists), window_s=0.3)
    for name, part in SPLIT_NAMES.items():
        NAMED[kind](tmp_path / "kept", part, of_split(clips, name))
    config = config_of(kind, path=str(tmp_path / "kept"))
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert feature_file(tmp_path / "b" / "f", config) == feature_file(tmp_path / "a" / "f", expected)
    assert not caplog.records
    assert DATASETS[config.name].says_splits(config)
    whole = index(replace(config, all_is_test=True))
    assert len(whole.splits["test"]) == len(clips) and not whole.splits["train"]


@pytest.fixture(scope="module")
def stretches(tmp_path_factory) -> list[Clip]:
    """Of ten recordings of three seconds each."""
    root = tmp_path_factory.mktemp("long")
    found = []
    for number in range(10):
        path = sound(root / "talks" / f"talk{number}.{'flac' if number % 2 else 'wav'}", number, 3.0)
        found += [Clip(path, word, f"s{number}", 0.25 + n, 0.75) for n, word in enumerate(WORDS[:2])]
    return found


STRETCHED = {
    "kaldi": lambda root, part, clips: layouts.kaldi(root / part, clips),
    "cuts": lambda root, part, clips: layouts.cuts(root / f"cuts_{part}.jsonl", clips),
    "supervisions": lambda root, part, clips: layouts.supervisions(root, clips, part),
    "nemo": lambda root, part, clips: layouts.nemo(root / part, clips, count=1),
}


@pytest.mark.parametrize("kind", STRETCHED)
def test_stretches_of_long_recordings_are_the_same_in_every_layout(kind, stretches, tmp_path):
    parts = {"train": stretches[:12], "validation": stretches[12:16], "test": stretches[16:]}
    lists = [str(layouts.manifest(tmp_path / f"{s}.jsonl", parts[s])) for s in SPLITS]
    for name, clips in parts.items():
        STRETCHED[kind](tmp_path / "kept", name, clips)
    config = config_of(kind, path=str(tmp_path / "kept"))
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    expected = DataConfig(name="manifest", manifests=tuple(lists), window_s=0.3)
    assert feature_file(tmp_path / "b" / "f", config) == feature_file(tmp_path / "a" / "f", expected)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_run_knows_its_recordings_wherever_they_lie(kind, clips, tmp_path):
    config = written(kind, tmp_path / "here", clips)
    known = identity.identify(index(config), config, {})
    (tmp_path / "here").rename(tmp_path / "there")
    moved = replace(config, path=config.path.replace("here", "there"))
    if kind == "kaldi" or kind in ("cuts", "supervisions"):
        assert not changes(known, identity.identify(index(moved), moved, {}))
        return
    assert not changes(known, identity.identify(index(moved), moved, {}))
    other = [*clips[:-1], clips[-1]._replace(path=clips[0].path)]
    fewer = written(kind, tmp_path / "fewer", other[:-1])
    assert changes(known, identity.identify(index(fewer), fewer, {}))


def test_a_stretch_in_a_shard_is_read_and_nothing_else_of_it(tmp_path, monkeypatch):
    path = sound(tmp_path / "long" / "hour.wav", 0, 120.0)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(path, "hour.wav")
    with tarfile.open(tmp_path / "shard.tar") as tar:
        member = tar.getmember("hour.wav")
    in_shard, read = Bytes(tmp_path / "shard.tar", "hour.wav", member.offset_data, member.size), []

    def counted(self, buffer, plain=inside._Slice.readinto):
        read.append(plain(self, buffer))
        return read[-1]

    monkeypatch.setattr(inside._Slice, "readinto", counted)
    samples = audio.read(in_shard, 100.0, 0.5)
    np.testing.assert_array_equal(samples, audio.read(path, 100.0, 0.5))
    assert len(samples) == 8000 and 16000 <= sum(read) < 500_000 < in_shard.size


def test_groups_are_by_what_lists_tell(clips, tmp_path):
    folder = layouts.kaldi(tmp_path, clips)
    (folder / "spk2gender").write_text("".join(f"{speaker} {'fm'[n % 2]}\n" for n, speaker in enumerate(SPEAKERS)))
    config = config_of("kaldi", path=str(tmp_path), groups=("gender",))
    examples = index(config).splits["test"]
    found = groups.groups(config, "test", examples)
    assert {*found["speaker"]} == {e.path.name[:3] for e in examples} and {*found["gender"]} <= {"f", "m"} - {""}
    with pytest.raises(ConfigError, match=r'data\.groups names "age": the manifest for test has gender, lang, speaker'):
        groups.groups(replace(config, groups=("age",)), "test", examples)


# What is wrong with them.


def rewritten(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    is_packed = path.suffix == ".gz"
    lines = (gzip.decompress(path.read_bytes()).decode() if is_packed else path.read_text()).splitlines()
    text = "".join(f"{line}\n" for line in change(lines)).encode()
    path.write_bytes(gzip.compress(text) if is_packed else text)


def changed_json(line: int, **fields):
    return lambda lines: [json.dumps(json.loads(one) | fields) if n == line else one for n, one in enumerate(lines)]


def replaced(line: int, text: str):
    return lambda lines: [text if n == line else one for n, one in enumerate(lines)]


def doubled(lines: list[str]) -> list[str]:
    return [*lines, lines[0]]


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])


def first_source(**changes):
    def change(lines: list[str]) -> list[str]:
        row = json.loads(lines[0])
        recording = row.get("recording", row)
        recording["sources"][0] |= changes
        return [json.dumps(row), *lines[1:]]

    return change


def spoilt_tar(folder: Path, *add: tuple[str, bytes]) -> None:
    with tarfile.open(folder / "all-0.tar", "a") as tar:
        for name, content in add:
            layouts._add(tar, name, content)


CUTS, NEMO = "cuts.jsonl.gz", "tarred_audio_manifest.json"
FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("kaldi", lambda p: rewritten(p / "wav.scp", replaced(0, "s00-no-s00_nohash_0 sph2pipe -f wav a.sph |")),
     "1 is a command, which is not run; write what it gives to files, and name these: .*wav.scp, line 1"),
    ("kaldi", lambda p: rewritten(p / "wav.scp", replaced(0, "s00-no-s00_nohash_0 wav.ark:17")),
     "1 is in an archive of Kaldi's"),
    ("kaldi", lambda p: rewritten(p / "wav.scp", replaced(0, "s00-no-s00_nohash_0 gone.wav")),
     "names a file that does not exist"),
    ("kaldi", lambda p: rewritten(p / "wav.scp", doubled), "1 has an id that an earlier line has: .*wav.scp, line 49"),
    ("kaldi", lambda p: rewritten(p / "utt2lang", lambda lines: lines[3:]), "3 has no label in utt2lang: .*wav.scp, line 1"),
    ("kaldi", lambda p: (p / "segments").write_text("a s00-no-s00_nohash_0 0 9\n"), "has no label in utt2lang"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, type="MixedCut")), "1 is a MixedCut.*cuts.jsonl.gz, line 1"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, recording=None)), "1 has features and no recording"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, supervisions=[])), "1 has no label"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, duration=9.0)), "1 ends before a stretch that is listed"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, start=9.0)), "1 ends before its offset: .*s00_nohash_0.wav"),
    ("cuts", lambda p: rewritten(p / CUTS, changed_json(0, start="x")), "an offset or duration that is no number"),
    ("cuts", lambda p: rewritten(p / CUTS, doubled), "1 has an id that an earlier line has: .*line 49"),
    ("cuts", lambda p: rewritten(p / CUTS, replaced(2, "[")), "1 is no JSON object: .*line 3"),
    ("cuts", lambda p: rewritten(p / CUTS, first_source(type="command")), 'is a source of type "command"'),
    ("cuts", lambda p: rewritten(p / CUTS, first_source(channels=[0, 1])), "takes one channel of 2"),
    ("cuts", lambda p: rewritten(p / CUTS, first_source(source="gone.wav")), "names a file that does not exist"),
    ("cuts", lambda p: cut(p / CUTS, 0.7), "1 is cut off or damaged .*: .*cuts.jsonl.gz"),
    ("supervisions", lambda p: rewritten(p / "words_recordings_all.jsonl", lambda lines: lines[1:]),
     "1 names a recording that is in no manifest of recordings: .*words_supervisions_all.jsonl, line 1"),
    ("supervisions", lambda p: rewritten(p / "words_recordings_all.jsonl", doubled), "1 has an id that an earlier line has"),
    ("webdataset", lambda p: cut(p / "all-1.tar", 0.5), "1 is cut off: it has no end: .*all-1.tar"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/s00_nohash_0.wav", b"")), "1 has a name that an earlier file of the shard has"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/x.wav", b"")), "1 has no label .*all-0.tar/no/x"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/x.json", b"{}")), "1 is no recording: .*all-0.tar/no/x"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/x.wav", b""), ("no/x.json", b"[")), "1 has a .json that is none"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/x.wav", b""), ("no/x.flac", b"")), "1 is several recordings of one name"),
    ("webdataset", lambda p: spoilt_tar(p, ("no/x.wav", b"RIFF"), ("no/x.cls", b"no")), "cannot be read as audio|ends before"),
    ("webdataset", lambda p: (p / "all-2.tar").write_bytes(b"x" * 5000), "1 is no tar .*all-2.tar"),
    ("nemo", lambda p: (p / "audio_1.tar").unlink(), "16 names a shard that is not there: .*line 17"),
    ("nemo", lambda p: rewritten(p / NEMO, changed_json(0, audio_filepath="x.wav")),
     "1 names a recording that is not in its shard: .*tarred_audio_manifest.json, line 1"),
    ("nemo", lambda p: rewritten(p / NEMO, changed_json(0, shard_id=None)), "1 does not say its shard_id"),
    ("arrow", lambda p: cut(p / "data-00001-of-00002.arrow", 0.6), "1 is cut off or damaged .*data-00001-of-00002.arrow"),
    ("arrow", lambda p: (f := p / "data-00001-of-00002.arrow").write_bytes(f.read_bytes()[:-8]),
     "the mark of its end is missing"),
    ("parquet", lambda p: cut(p / "data.parquet", 0.6), "1 is cut off or damaged .*data.parquet"),
]  # fmt: skip
FAULTY = [
    pytest.param(*fault, marks=needs_arrow if UNDIVIDED[fault[0]][0] == "huggingface" else (), id=f"{fault[0]}-{n}")
    for n, fault in enumerate(FAULTS)
]


@pytest.mark.parametrize(("kind", "spoil", "message"), FAULTY)
def test_what_cannot_be_used_is_summed_up_or_left_out(kind, spoil, message, clips, tmp_path, caplog):
    config = written(kind, tmp_path, clips)
    spoil(tmp_path)
    with pytest.raises(DataError, match=rf"cannot be used \(.*{message}") as raised:
        index(config)
    assert 'data.on_bad_file = "skip"' in str(raised.value) and "\n" not in str(raised.value)
    try:
        left = len(index(replace(config, on_bad_file="skip")).examples)
        assert left <= len(clips)
    except DataError as error:  # nothing is left of it
        assert "is empty" in str(error) or "every class" in str(error)
    assert "left out" in caplog.text


@needs_arrow
@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_recordings_in_tables_that_are_no_audio_are_summed_up(kind, clips, tmp_path, caplog):
    no_audio = [tmp_path / "s00_nohash_8.wav", tmp_path / "s00_nohash_9.wav"]
    for path in no_audio:
        path.write_bytes(b"RIFF")
    config = written(kind, tmp_path / "kept", [*clips, *(Clip(path, "yes", "s00") for path in no_audio)])
    with pytest.raises(DataError, match=r"2 recording\(s\) cannot be used \(2 [^:]*: \S*/000000\d\d\d/s00_nohash_8.wav, "):
        index(config)
    assert len(index(replace(config, on_bad_file="skip")).examples) == len(clips)


def test_lists_of_a_run_give_way_to_another_place():
    elsewhere = configuration.elsewhere
    assert elsewhere(DataConfig(name="kaldi", manifests=("a",)), "b") == ['data.path="b"', "data.manifests=[]"]
    assert elsewhere(DataConfig(name="kaldi", manifests=("a",)), "b", ["data.manifests = ['c']"]) == ['data.path="b"']
    assert elsewhere(DataConfig(name="manifest", manifests=("a", "b", "c")), "d") == ['data.path="d"']


REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("kaldi", lambda p: (p / "utt2lang").unlink(), "has no utt2lang or utt2label or text"),
    ("kaldi", lambda p: (p / "wav.scp").unlink(), 'data.path: ".*": has nothing to read; set it to a folder with wav.scp'),
    ("cuts", lambda p: rewritten(p / CUTS, lambda lines: ["{}"]), "has neither cuts nor supervisions of Lhotse's"),
    ("supervisions", lambda p: (p / "words_recordings_all.jsonl").unlink(),
     "has no words_recordings_all.jsonl or .* beside it"),
    ("webdataset", lambda p: (p / "all-0.tar").write_bytes(gzip.compress(b"x")), "all-0.tar: is compressed, so that"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spoil", "message"), REFUSED)
def test_what_is_no_corpus_is_refused(kind, spoil, message, clips, tmp_path):
    config = written(kind, tmp_path, clips)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        index(config)


def test_texts_are_no_classes(tmp_path, clips):
    folder = layouts.kaldi(tmp_path, clips)
    (folder / "utt2lang").unlink()
    many = [c._replace(path=sound(tmp_path / "more" / f"{n}.wav", n), speaker=f"t{n}") for n, c in enumerate(clips)]
    layouts.kaldi(folder, [*clips, *many])
    lines = [line.split()[0] for line in (folder / "wav.scp").read_text().splitlines()]
    (folder / "utt2lang").unlink()
    (folder / "text").write_text("".join(f"{name} sentence number {n}\n" for n, name in enumerate(lines)))
    with pytest.raises(DataError, match=r"96 recordings have 96 different labels, first .*; name what .* by data.label_column"):
        index(config_of("kaldi", path=str(folder)))


@pytest.mark.parametrize("kind", IN_SPLITS)
def test_speakers_in_two_splits_are_told_and_recordings_refused(kind, clips, tmp_path, caplog):
    parts = {name: of_split(clips, name) for name in SPLITS}
    again = Clip(sound(tmp_path / "sounds" / "s00_nohash_1.wav", 99), "yes", "s00")
    for name, part in SPLIT_NAMES.items():
        NAMED[kind](tmp_path / "kept", part, [*parts[name], *([again] if name == "test" else [])])
    index(config_of(kind, path=str(tmp_path / "kept")))
    assert "1 of 16 speakers are in several splits, first s00" in caplog.text
    for name, part in SPLIT_NAMES.items():
        NAMED[kind](tmp_path / "leak", part, [*parts[name], *(parts["train"][:2] if name == "test" else [])])
    with pytest.raises(DataError, match=r"2 recording\(s\) are in two splits, first .*s00_nohash_0"):
        index(config_of(kind, path=str(tmp_path / "leak")))


def test_recordings_of_a_lower_rate_beside_others_are_told(clips, tmp_path, caplog):
    low = [Clip(sound(tmp_path / "low" / f"{s}_nohash_1.wav", 7, rate=8000), "yes", s) for s in SPEAKERS[:4]]
    index(written("kaldi", tmp_path / "kept", [*clips, *low]))
    assert "4 recording(s) are used, but are odd (4 with 8000 samples a second, where others have 16000 or more" in caplog.text
    caplog.clear()
    index(written("kaldi", tmp_path / "same", clips))
    assert "odd" not in caplog.text


def test_what_the_configuration_must_say(clips, tmp_path):
    for name, more, message in (
        ("kaldi", {}, 'data.name = "kaldi": set data.path, or data.manifests, to a folder with wav.scp'),
        ("lhotse", {"manifests": ("a", "b")}, "must name three, for train, validation and test, or one"),
        ("lhotse", {"path": "nowhere"}, 'data.path: "nowhere": no such file or folder'),
        ("webdataset", {"manifests": ("train-{0..2}.tar",)}, 'data.manifests: "train-0.tar": no such file'),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            index(DataConfig(name=name, **more))
    layouts.kaldi(tmp_path / "train", clips)
    layouts.kaldi(tmp_path / "test", clips)
    with pytest.raises(DataError, match=r"has train and test by their names, and no validation; name three by data.manifests"):
        index(DataConfig(name="kaldi", path=str(tmp_path)))
    twice = (str(tmp_path / "train"), str(tmp_path / "test"), str(tmp_path / "train"))
    with pytest.raises(ConfigError, match=r"names .* twice"):
        index(DataConfig(name="kaldi", manifests=twice))


def test_shards_are_named_by_patterns(clips, tmp_path):
    layouts.shards(tmp_path, clips, "a", count=12)
    for pattern in ("a-{0..11}.tar", "a-_OP_0..11_CL_.tar", "a-*.tar"):
        config = DataConfig(name="webdataset", manifests=(str(tmp_path / pattern),), **SHARES)
        assert [e.path.stem for e in index(config).examples] == [
            e.path.stem for e in index(replace(config, manifests=(str(tmp_path),))).examples
        ]


@needs_arrow
def test_paths_in_tables_are_read_and_compressed_batches_refused(clips, tmp_path):
    import pyarrow

    whole = layouts.table(clips)
    paths = pyarrow.array([str(c.path) for c in clips])
    (tmp_path / "paths").mkdir()
    with pyarrow.OSFile(str(tmp_path / "paths" / "a.arrow"), "wb") as file:
        table = whole.set_column(0, "path", paths)
        with pyarrow.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    config = DataConfig(name="huggingface", path=str(tmp_path / "paths"), **SHARES)
    assert {e.path for e in index(config).examples} == {c.path for c in clips}
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    (tmp_path / "packed").mkdir()
    packed = str(tmp_path / "packed" / "a.arrow")
    with pyarrow.OSFile(packed, "wb") as file, pyarrow.ipc.new_stream(file, whole.schema, options=options) as writer:
        writer.write_table(whole)
    with pytest.raises(DataError, match="has compressed batches, in which nothing can be found"):
        index(replace(config, path=str(tmp_path / "packed")))
    with pytest.raises(DataError, match=r"has no column sound; it has audio, label, speaker_id; set data.path_column"):
        index(replace(config, path=str(layouts.arrow(tmp_path / "plain", clips)), path_column="sound"))


def test_without_pyarrow_tables_name_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"need pyarrow .*: pip install 'hpcnas\[parquet\]'"):
        index(DataConfig(name="huggingface", path=str(tmp_path)))


def test_nothing_is_said_of_a_corpus_that_is_well(clips, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        index(written("kaldi", tmp_path, clips))
    assert not caplog.records
