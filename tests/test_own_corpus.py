"""A run knows its corpus: it goes on with the recordings that it was begun with, wherever they are, and others if asked."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core.corpus_identity import changes, class_changes
from hpcnas.core.errors import RunError
from hpcnas.data.audio import RATE
from hpcnas.nn.corpus import Corpus
from hpcnas.runtime.own_corpus import own_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.store import corpus_file, model_card
from hpcnas.store.run_dir import RunDir, Stage


def record(path: Path, hertz: float, length_s: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(length_s * RATE)) / RATE), RATE)


def lists(root: Path) -> None:
    """Speakers 2 are for validation, 3 for the test."""
    for name, speaker in (("validation_list.txt", 2), ("testing_list.txt", 3)):
        found = sorted(root.glob(f"*/s{speaker}_nohash_0.wav"))
        (root / name).write_text("".join(f"{path.relative_to(root).as_posix()}\n" for path in found))


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("HPCNAS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for number, word in enumerate(("no", "up", "yes")):
        for speaker in range(4):
            record(root / word / f"s{speaker}_nohash_0.wav", 300 * (number + 1) + 10 * speaker)
    lists(root)
    return root


def config_of(corpus: Path, *more: str) -> Config:
    given = ["data.name=speech_commands", f"data.path={corpus}", "data.protocol=all", "data.window_s=0.3", *more]
    return configuration.load(None, given)


def begin(tmp_path: Path, config: Config) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    begun(run, run.search, config)
    run.config.write_text(configuration.dump(config))
    run.search.journal.touch()
    return run


def begun(run: RunDir, stage: Stage, config: Config, accept_new_data: bool = False) -> Corpus:
    """The corpus of a stage, which has written it down."""
    corpus, remember = own_corpus(SoloWorld(), config, run, stage, accept_new_data)
    remember()
    return corpus


def go_on(run: RunDir, config: Config, accept_new_data: bool = False) -> Corpus:
    return begun(run, run.search, config, accept_new_data)


def rename(root: Path) -> None:
    (root / "yes").rename(root / "ant")
    lists(root)


def add_class(root: Path) -> None:
    shutil.copytree(root / "yes", root / "zulu")
    lists(root)


def remove_class(root: Path) -> None:
    shutil.rmtree(root / "yes")
    lists(root)


def remove(root: Path) -> None:
    (root / "no" / "s0_nohash_0.wav").unlink()


def move_between_splits(root: Path) -> None:
    (root / "testing_list.txt").write_text((root / "testing_list.txt").read_text() + "no/s1_nohash_0.wav\n")


def replace_by_longer_ones(root: Path) -> None:
    record(root / "no" / "s1_nohash_0.wav", 500, 0.4)


def exchange_folders(root: Path) -> None:
    """Names, classes and sizes stay."""
    (root / "no").rename(root / "x")
    (root / "yes").rename(root / "no")
    (root / "x").rename(root / "yes")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename, "class yes no longer there; class ant new; restore it, or begin another run"),
        (add_class, "class zulu new; restore it"),
        (remove_class, "class yes no longer there; restore it"),
        (remove, "train: 1 recording fewer (1 of no); restore it"),
        (move_between_splits, "1 recording of train now in test (no/s1_nohash_0.wav); restore it"),
        (replace_by_longer_ones, "1 recording with another content (no/s1_nohash_0.wav); restore it"),
        (
            exchange_folders,
            "8 recordings with another content (no/s0_nohash_0.wav, no/s1_nohash_0.wav, ",
        ),
    ],
)
@pytest.mark.parametrize("accept", [False, True])
def test_a_changed_corpus_is_refused_with_what_changed_and_nothing_is_touched(corpus, tmp_path, change, told, accept):
    run = begin(tmp_path, config_of(corpus))
    before = {path: path.read_bytes() for path in run.root.iterdir() if path.is_file()}
    change(corpus)
    with pytest.raises(RunError) as refused:
        go_on(run, config_of(corpus), accept)
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert ("further recordings of the same classes only" in str(refused.value)) is accept
    assert {path: path.read_bytes() for path in run.root.iterdir() if path.is_file()} == before


def test_added_recordings_need_the_user_s_word_and_are_then_the_run_s_own(corpus, tmp_path, caplog):
    run = begin(tmp_path, config_of(corpus))
    card = run.model_card.read_bytes()
    record(corpus / "no" / "s9_nohash_0.wav", 250)
    record(corpus / "up" / "s9_nohash_0.wav", 550)
    with pytest.raises(RunError, match=r"train: 2 recordings more \(no/s9_\S+, up/s9_\S+\); --accept-new-data goes on"):
        go_on(run, config_of(corpus))
    with caplog.at_level(logging.WARNING):
        taken = go_on(run, config_of(corpus), accept_new_data=True)
    assert len(taken.train) == 8 and "new data accepted (train: 2 recordings more" in caplog.text
    assert run.model_card.read_bytes() == card, "trials from before know this normalisation"
    np.testing.assert_array_equal(taken.front_end.mean.numpy(), model_card.load(run.model_card).mean.astype(np.float32))
    assert len(go_on(run, config_of(corpus)).train) == 8


def test_a_corpus_is_the_same_wherever_it_is_and_whenever_it_was_written(corpus, tmp_path):
    run = begin(tmp_path, config_of(corpus))
    before = run.search.corpus.read_bytes()
    elsewhere = tmp_path / "other" / "mount"
    shutil.copytree(corpus, elsewhere)
    for path in elsewhere.rglob("*.wav"):
        os.utime(path, (1, 1))
    shutil.rmtree(corpus)
    moved = config_of(elsewhere)
    assert not configuration.differences(configuration.load(run.config), moved, configuration.PLACES)
    go_on(run, moved)
    assert run.search.corpus.read_bytes() == before


def listed(tmp_path: Path, *roots: Path) -> Config:
    """Manifests with absolute paths, in a folder of their own."""
    (tmp_path / "lists").mkdir(exist_ok=True)
    manifests = []
    for split, speakers in (("train", (0, 1)), ("dev", (2,)), ("test", (3,))):
        rows = [(root / w / f"s{s}_nohash_0.wav", w) for root in roots for w in ("no", "up", "yes") for s in speakers]
        manifests.append(tmp_path / "lists" / f"{split}.csv")
        manifests[-1].write_text("path,label\n" + "".join(f"{path},{word}\n" for path, word in rows))
    given = ["data.name=manifest", f"data.manifests={[str(path) for path in manifests]}", "data.window_s=0.3"]
    return configuration.load(None, given)


def test_recordings_of_a_manifest_may_move_and_others_come_from_elsewhere(corpus, tmp_path):
    run = begin(tmp_path, listed(tmp_path, corpus))
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(corpus, tmp_path / "elsewhere" / "clips"))
    go_on(run, listed(tmp_path, moved))
    shutil.move(moved, corpus)
    more = shutil.copytree(corpus, tmp_path / "more")
    with pytest.raises(RunError, match=r"train: 6 recordings more \(\.\./more/no/s0_nohash_0.wav"):
        go_on(run, listed(tmp_path, corpus, more))
    assert len(go_on(run, listed(tmp_path, corpus, more), accept_new_data=True).train) == 12
    go_on(run, listed(tmp_path, corpus, more))


def test_an_early_run_goes_on_with_a_warning_if_its_classes_agree(corpus, tmp_path, caplog):
    run = begin(tmp_path, config_of(corpus))
    run.search.corpus.unlink()
    with caplog.at_level(logging.WARNING):
        go_on(run, config_of(corpus))
        go_on(run, config_of(corpus))
    assert caplog.text.count("does not say which recordings it was begun with") == 1 and run.search.corpus.exists()
    run.search.corpus.unlink()
    card = run.model_card.read_bytes()
    rename(corpus)
    with pytest.raises(RunError, match="class yes no longer there; class ant new"):
        go_on(run, config_of(corpus))
    assert run.model_card.read_bytes() == card and not run.search.corpus.exists()


def test_models_of_a_final_stage_are_all_of_one_corpus(corpus, tmp_path):
    run = begin(tmp_path, config_of(corpus))
    begun(run, run.ensemble, config_of(corpus))
    record(corpus / "no" / "s9_nohash_0.wav", 250)
    go_on(run, config_of(corpus), accept_new_data=True)
    with pytest.raises(RunError, match=f"remove {run.ensemble.root} and give --accept-new-data"):
        begun(run, run.ensemble, config_of(corpus), accept_new_data=True)
    shutil.rmtree(run.ensemble.root)
    begun(run, run.ensemble, config_of(corpus))
    begun(run, run.student, config_of(corpus))


def test_trials_that_are_scored_together_take_no_new_data(corpus, tmp_path):
    config = config_of(corpus, "combiner.name=residual")
    run = begin(tmp_path, config)
    record(corpus / "no" / "s9_nohash_0.wav", 250)
    with pytest.raises(RunError, match="scored together with earlier predictions"):
        go_on(run, config, accept_new_data=True)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 9}', b"[]"])
def test_a_damaged_identity_is_one_line(corpus, tmp_path, damage):
    run = begin(tmp_path, config_of(corpus))
    run.search.corpus.write_bytes(damage)
    with pytest.raises(RunError, match=r"corpus\.json: (cannot be read .* removed, the run goes on|has format 9)"):
        go_on(run, config_of(corpus))


def test_an_identity_is_read_as_it_was_written(corpus, tmp_path):
    run = begin(tmp_path, config_of(corpus))
    known = corpus_file.load(run.search.corpus)
    assert known.counts == {
        "train": {"no": 2, "up": 2, "yes": 2}, "validation": {"no": 1, "up": 1, "yes": 1},
        "test": {"no": 1, "up": 1, "yes": 1}, "noise": {},
    }  # fmt: skip
    assert changes(known, known) == [] and known.features["bands"] == 40
    told = [change.what for change in changes(known, replace(known, features={**known.features, "bands": 20}))]
    assert told == ["features.bands = 40, now 20"]


def test_what_a_run_that_never_began_left_does_not_count(corpus, tmp_path):
    run = begin(tmp_path, config_of(corpus))
    run.config.unlink()
    rename(corpus)
    go_on(run, config_of(corpus))
    assert corpus_file.load(run.search.corpus).class_names == model_card.load(run.model_card).class_names == ("ant", "no", "up")


def test_classes_in_another_order_are_others():
    assert class_changes(("a", "b"), ("a", "b")) == []
    assert [change.what for change in class_changes(("a", "b"), ("b", "a"))] == ["the classes are in another order"]


def draw(root: Path, tmp_path: Path, edit: Callable[[], None]) -> list[str]:
    """What changes for a run with classes that are drawn by lot."""
    given = ["data.protocol=12", 'data.keywords=["no", "up"]', "data.unknown_percent=50", "data.silence_percent=50"]
    run = begin(tmp_path, config_of(root, *given))
    edit()
    with pytest.raises(RunError) as refused:
        go_on(run, config_of(root, *given))
    assert "--accept-new-data goes on" in str(refused.value)
    go_on(run, config_of(root, *given), accept_new_data=True)
    return str(refused.value).split("; ")


def test_what_is_drawn_by_lot_may_be_drawn_anew_when_recordings_come(corpus, tmp_path):
    record(corpus / "_background_noise_" / "hum.wav", 100, 3.0)

    def edit() -> None:
        for number in range(4):
            record(corpus / "no" / f"s{9 + number}_nohash_0.wav", 250)

    told = draw(corpus, tmp_path, edit)
    assert any("train: 4 recordings more (no/s10" in one for one in told), told
    assert any("of _silence_" in one and "drawn anew" in one for one in told), told


def test_other_noise_may_be_taken_too(corpus, tmp_path):
    for name in ("hum", "rain"):
        record(corpus / "_background_noise_" / f"{name}.wav", 100, 3.0)

    def edit() -> None:
        (corpus / "_background_noise_" / "rain.wav").rename(corpus / "_background_noise_" / "wind.wav")

    told = draw(corpus, tmp_path, edit)
    assert any("noise: " in one and "fewer" in one for one in told), told
