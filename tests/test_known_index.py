"""The index of a large corpus is made once, kept, and made anew when the corpus is another one."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
from dataclasses import fields, replace
from pathlib import Path

import pytest

from hpcnas import config as configuration
from hpcnas.core.corpus_identity import changes
from hpcnas.data import DATASETS, known_index
from hpcnas.data.corpus import SPLITS, CorpusIndex, Example
from hpcnas.data.identity import identify
from hpcnas.data.inside import Cell
from hpcnas.runtime import known_corpus
from hpcnas.runtime.features import indexed, load_corpus
from hpcnas.runtime.own_corpus import identified
from hpcnas.runtime.together import SoloWorld


@pytest.fixture
def corpus(tones, tmp_path) -> Path:
    """Words in folders, and a folder of lists that nobody reads."""
    shutil.copytree(tones, tmp_path / "corpus")
    (tmp_path / "corpus" / "low" / "é_nohash_0.wav").write_bytes(next((tmp_path / "corpus" / "low").glob("*.wav")).read_bytes())
    return tmp_path / "corpus"


@pytest.fixture
def config(corpus, tmp_path, monkeypatch):
    """For which every corpus is large, and may have been changed a moment ago."""
    monkeypatch.setattr(known_index, "LARGE", 1)
    monkeypatch.setattr(known_corpus, "SETTLED_S", -1e6)
    given = ["data.name=speech_commands", f"data.path={corpus}", "data.window_s=0.5"]
    return configuration.load(None, [*given, 'data.keywords=["low", "mid", "high"]', f"data.cache={tmp_path}"])


@pytest.fixture
def known(config) -> CorpusIndex:
    load_corpus(SoloWorld(), config)
    found = known_corpus.recalled(config)
    assert found is not None
    return found


def test_a_kept_index_is_the_one_that_was_made(config, known):
    made = DATASETS["speech_commands"].index(config.data)
    assert known.class_names == made.class_names and known.noise == made.noise
    for split in SPLITS:
        examples, mapped = made.splits[split], known.splits[split]
        assert len(mapped) == len(examples) > 3 and tuple(mapped) == examples
        assert tuple(mapped[1:3]) == examples[1:3] and tuple(mapped[::-2]) == examples[::-2] and mapped[-1] == examples[-1]
        with pytest.raises(IndexError):
            mapped[len(mapped)]
    assert any("é" in example.path.name for example in known.examples)
    of_made = identify(made, config.data, {})
    assert not changes(of_made, known.kept.identity) and known.kept.identity.digests == of_made.digests
    assert known.kept.identity.contents == of_made.contents and known.kept.identity.root == of_made.root


def test_a_start_with_a_kept_index_opens_no_recording_and_finds_the_same_features(config, known, monkeypatch, tmp_path):
    before = sorted(path.name for path in (tmp_path / "features").iterdir())
    monkeypatch.setattr(DATASETS["speech_commands"], "index", lambda data: pytest.fail("was indexed anew"))
    train = load_corpus(SoloWorld(), config).train
    assert len(train) == len(known.splits["train"]) and sorted(p.name for p in (tmp_path / "features").iterdir()) == before
    seen = identified(indexed(config), config, None)
    assert seen.features and not changes(seen, identified(known, config, seen))


def test_features_made_from_a_kept_index_are_the_same(config, known, tmp_path):
    (path,) = (path for path in (tmp_path / "features").iterdir() if not path.name.startswith("index"))
    whole = path.read_bytes()
    path.unlink()
    load_corpus(SoloWorld(), config)
    assert path.read_bytes() == whole


def test_what_was_changed_is_no_longer_what_was_kept(known):
    fewer = replace(known, splits={**known.splits, "test": known.splits["test"][:1]})
    assert known.kept is not None and fewer.kept is None and len(fewer.examples) < len(known.examples)


def test_other_ranks_are_told_a_path(known):
    assert len(pickle.dumps(known_corpus.packed(known))) < 500
    other = known_corpus.unpacked(pickle.loads(pickle.dumps(known_corpus.packed(known))))
    assert tuple(other.splits["test"]) == tuple(known.splits["test"])


def more(corpus: Path) -> None:
    shutil.copy(next((corpus / "mid").glob("*.wav")), corpus / "mid" / "new_nohash_0.wav")


def fewer(corpus: Path) -> None:
    sorted((corpus / "high").glob("*.wav"))[0].unlink()


def other_class(corpus: Path) -> None:
    shutil.copytree(corpus / "mid", corpus / "middle")


def rewritten(corpus: Path) -> None:
    path = sorted((corpus / "mid").glob("*.wav"))[0]
    path.write_bytes(path.read_bytes() + b"\0\0")


def touched(corpus: Path) -> None:
    os.utime(sorted((corpus / "mid").glob("*.wav"))[0])


def other_list(corpus: Path) -> None:
    with open(corpus / "testing_list.txt", "a") as file:
        file.write("\n")


@pytest.mark.parametrize("change", [more, fewer, other_class, rewritten, touched, other_list])
def test_another_corpus_is_indexed_anew(corpus, config, known, change):
    change(corpus)
    assert known_corpus.recalled(config) is None
    made = DATASETS["speech_commands"].index(config.data)
    assert tuple(indexed(config).examples) == made.examples
    load_corpus(SoloWorld(), config)
    again = known_corpus.recalled(config)
    assert again is not None and again.examples == made.examples


def test_lists_beside_and_below_the_root_count_too(corpus, config, known):
    (corpus / "_lists").mkdir()
    (corpus / "_lists" / "speakers.csv").write_text("a\n")
    load_corpus(SoloWorld(), config)
    assert known_corpus.recalled(config) is not None
    with open(corpus / "_lists" / "speakers.csv", "r+") as file:  # in place: its folder does not change
        file.write("b\n")
    os.utime(corpus / "_lists" / "speakers.csv", ns=(0, 1))
    assert known_corpus.recalled(config) is None


def test_other_settings_and_another_format_have_an_index_of_their_own(config, known, monkeypatch):
    assert known_corpus.recalled(configuration.load(None, [f"data.path={config.data.path}"])) is None
    monkeypatch.setattr(known_index, "FORMAT", 99)
    monkeypatch.setattr(known_corpus, "file_of", lambda config: known.kept.file)
    assert known_corpus.recalled(config) is None


def test_a_cache_that_cannot_be_written_is_none(config, monkeypatch, caplog):
    def full(*given: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(known_index, "write", full)
    assert len(load_corpus(SoloWorld(), config).train) and not known_corpus.file_of(config).exists()
    assert "cannot be kept ([Errno 30] Read-only file system)" in caplog.text


def test_lists_may_have_any_name_and_manifests_be_patterns(tmp_path, config):
    recording, labels = tmp_path / "audio" / "a.wav", tmp_path / "data" / "utt2lang"
    for path in (recording, labels):
        path.parent.mkdir()
        path.write_text("a en\n")
    for number in (0, 1):
        (tmp_path / f"cuts_{number}.jsonl.gz").touch()
    index = CorpusIndex(("en",), {"train": (Example(recording, 0),)}, ())
    data = replace(config.data, path=str(labels.parent), manifests=(f"{tmp_path}/cuts_{{0..1}}.jsonl.gz",))
    made_of = known_index.places(index, data)
    watched = {place.path for place in made_of}
    assert {str(labels), f"{tmp_path}/cuts_0.jsonl.gz", f"{tmp_path}/cuts_1.jsonl.gz"} <= watched
    assert known_index.are_as_they_were(made_of)
    labels.write_text("a deu\n")
    assert not known_index.are_as_they_were(made_of)


def test_all_of_an_example_is_kept_or_nothing():
    kept = {"path", "label", *known_index._NUMBERS}
    assert {field.name for field in fields(Example)} == kept | {"name", "inside"}, "known_index.write"
    plain = Example(Path("a.wav"), 0)
    for one in (replace(plain, name="a word"), replace(plain, inside=Cell(Path("table.parquet"), "a.wav", "audio", 0, 0, 9))):
        assert not known_index.can_hold(CorpusIndex(("a",), {"train": (plain, one)}, ()))
    assert known_index.can_hold(CorpusIndex(("a",), {"train": (plain,)}, ()))


def test_a_damaged_index_is_made_anew(config, known, caplog):
    with open(known.kept.file, "r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"x")
    assert known_corpus.recalled(config) is None and "is damaged, and is made anew" in caplog.text


def test_what_may_be_changing_still_is_not_kept(config, monkeypatch):
    monkeypatch.setattr(known_corpus, "SETTLED_S", 600.0)
    load_corpus(SoloWorld(), config)
    assert not known_corpus.file_of(config).exists()


def test_a_corpus_that_is_not_large_is_looked_at_as_ever(config, monkeypatch):
    monkeypatch.setattr(known_index, "LARGE", 10_000)
    load_corpus(SoloWorld(), config)
    assert not known_corpus.file_of(config).exists()


def test_manifests_count_with_their_contents(corpus, tmp_path, config):
    files = {split: tmp_path / f"{split}.jsonl" for split in SPLITS}
    recordings = {word: sorted((corpus / word).glob("*.wav")) for word in ("low", "mid")}
    for number, path in enumerate(files.values()):
        rows = [{"audio_filepath": str(of[number]), "label": word} for word, of in recordings.items()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = json.dumps([str(path) for path in files.values()])
    own = configuration.load(
        None, ["data.name=manifest", f"data.manifests={named}", f"data.cache={tmp_path}", "data.window_s=0.5"]
    )
    load_corpus(SoloWorld(), own)
    found = known_corpus.recalled(own)
    assert found is not None and found.examples == DATASETS["manifest"].index(own.data).examples
    assert {(example.length_s, example.spoken_s) for example in found.examples} == {(0.5, 0.5)}
    files["test"].write_text(files["test"].read_text() + "\n")
    assert known_corpus.recalled(own) is None


def test_shards_are_kept_too(corpus, tmp_path, config):
    shards = tmp_path / "shards"
    for number, split in enumerate(SPLITS):
        (shards / split).mkdir(parents=True)
        with tarfile.open(shards / split / "000.tar", "w") as shard:
            for word in ("low", "mid", "high"):
                shard.add(sorted((corpus / word).glob("*.wav"))[number], f"{word}/{number}.wav")
                label = tarfile.TarInfo(f"{word}/{number}.cls")
                label.size = len(word)
                shard.addfile(label, io.BytesIO(word.encode()))
    own = configuration.load(
        None, ["data.name=webdataset", f"data.path={shards}", f"data.cache={tmp_path}", "data.window_s=0.5"]
    )
    made = load_corpus(SoloWorld(), own)
    found = known_corpus.recalled(own)
    assert found is not None and found.examples == DATASETS["webdataset"].index(own.data).examples
    assert {example.inside.file.name for example in found.examples} == {"000.tar"}
    again = load_corpus(SoloWorld(), own)
    assert (again.train.frames == made.train.frames).all() and len(again.train) == 3
    with open(shards / "test" / "000.tar", "ab") as shard:
        shard.write(bytes(512))
    assert known_corpus.recalled(own) is None
