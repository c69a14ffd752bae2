"""Judging a finished model on folders that hold a test set and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpcnas import config as configuration
from hpcnas import evaluate
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.runtime.crew import Crew
from hpcnas.runtime.features import load_corpus


@pytest.fixture
def test_set(tones: Path, tmp_path: Path) -> Path:
    """As published ones are: words, ``_unknown_`` and ``_silence_``, no lists."""
    root = tmp_path / "set"
    for word, name in (("low", "low"), ("mid", "mid"), ("high", "high"), ("other", "_unknown_"), ("other", "_silence_")):
        shutil.copytree(tones / word, root / name)
    return root


def examples(capsys: pytest.CaptureFixture, run: Path, *arguments: str) -> tuple[dict[str, int], str]:
    """How many of each class were judged, and what was said beside it."""
    evaluate.main([str(run), *arguments, "--model", "best", "--json"])
    out, err = capsys.readouterr()
    return {row["name"]: row["examples"] for row in json.loads(out)["classes"]}, err


WHOLE = {"low": 12, "mid": 12, "high": 12, "_unknown_": 12, "_silence_": 12}


def test_all_of_a_folder_without_lists_is_judged_and_said(causal_run, test_set, capsys):
    counts, said = examples(capsys, causal_run.root, str(test_set))
    assert counts == WHOLE
    assert f"{test_set}: has neither lists nor folders of splits; all of its 60 examples are judged" in said
    assert examples(capsys, causal_run.root, str(test_set), "--set", "data.silence_percent=0")[0] == WHOLE
    shutil.rmtree(test_set / "_silence_")
    assert "_silence_" not in examples(capsys, causal_run.root, str(test_set))[0], "there is none to judge"


def test_own_recordings_of_one_speaker_are_enough(causal_run, test_set, capsys):
    for name in ("_unknown_", "_silence_", "high"):
        shutil.rmtree(test_set / name)
    assert examples(capsys, causal_run.root, str(test_set))[0] == {"low": 12, "mid": 12}


def test_of_a_folder_with_lists_the_test_split_is_judged(causal_run, tones, tmp_path, capsys):
    copy = shutil.copytree(tones, tmp_path / "copy")
    counts, said = examples(capsys, causal_run.root, str(copy))
    assert counts["low"] == 2 and "judged" not in said
    counts, said = examples(capsys, causal_run.root, str(copy), "--split", "validation")
    assert counts["low"] == 2 and "judged" not in said


def test_whoever_wants_a_part_of_such_a_folder_says_so(causal_run, test_set, capsys):
    shares = ["data.all_is_test=false", "data.validation_percent=30", "data.test_percent=30"]
    settings = [part for share in shares for part in ("--set", share)]
    counts, said = examples(capsys, causal_run.root, str(test_set), *settings)
    assert 0 < counts["low"] < 12 and "judged" not in said


def test_folders_of_languages_and_classes_that_a_model_does_not_know(causal_run, test_set, capsys, caplog):
    as_languages = ["--set", "data.name=language_folders"]
    counts, _ = examples(capsys, causal_run.root, str(test_set), *as_languages)
    assert counts == {"low": 12, "mid": 12, "high": 12}
    assert "24 files not used: 12 in _silence_, 12 in _unknown_" in caplog.text
    (test_set / "high").rename(test_set / "shrill")
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(causal_run.root), str(test_set), "--model", "best", *as_languages])
    assert "classes that the model does not know: shrill" in capsys.readouterr().err


def test_a_model_of_keywords_alone_is_judged_on_keywords_alone(capsys):
    split = Split(np.zeros((6, 1)), np.arange(6), np.ones(6, int), np.ones(6, int), np.array([0, 1, 2, 3, 0, 2]))
    corpus = Corpus(split, split, split, 1, None, None, ("no", "yes", "_unknown_", "_silence_"))
    adapted = evaluate.adapted(corpus, SimpleNamespace(class_names=("yes", "no")), Crew().say)
    assert adapted.test.labels.tolist() == [1, 0, 1] and adapted.test.starts.tolist() == [0, 1, 4]
    assert adapted.class_names == ("yes", "no")
    assert "left out, as the model does not know them: _unknown_ and _silence_" in capsys.readouterr().err
    with pytest.raises(DataError, match="classes that the model does not know: no; known: yes"):
        evaluate.adapted(corpus, SimpleNamespace(class_names=("yes",)), Crew().say)


def test_a_folder_that_is_all_test_is_nothing_to_train_on(tones):
    config = configuration.load(None, ["data.name=speech_commands", f"data.path={tones}", "data.all_is_test=true"])
    with pytest.raises(ConfigError, match="all_is_test = true: leaves nothing to train on"):
        load_corpus(SimpleNamespace(rank=0, size=1), config)
