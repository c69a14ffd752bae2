"""Thresholds of keywords: how they are chosen, where they are kept, who goes by them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hpcnas import detect, evaluate
from hpcnas.core.false_alarms import Alarms, Heard
from hpcnas.core.spotting import Spotter, SpottingConfig
from hpcnas.core.thresholds import Thresholds, chosen
from hpcnas.data.audio import RATE
from hpcnas.judging.evaluation import calibrated, refused
from hpcnas.store import model_card, model_file, weights
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier


def many(keywords):
    return st.lists(st.tuples(st.integers(0, keywords - 1), st.integers(1, 50)), max_size=40)


@given(spoken=many(3), alarms=many(3), rate=st.sampled_from([0.5, 1.0, 2.0]), hours=st.sampled_from([0.5, 4.0, 10.0]))
def test_thresholds_together_keep_the_rate_and_are_no_worse_than_one_for_all(spoken, alarms, rate, hours):
    spoken += [(0, 25), (1, 25), (2, 25)]
    hits, false = (np.array([score / 51 for _, score in some]) for some in (spoken, alarms))
    one = Heard(np.array([k for k, _ in spoken]), hits, Alarms(np.array([k for k, _ in alarms], int), false, hours))
    found = chosen(one, rate)
    thresholds = np.array([found[keyword] for keyword in range(3)])
    assert one.alarms_from(thresholds).value <= rate + 1e-9
    if rate * hours < 1:  # nothing is let through: each stands above its own alarms
        assert one.misses_from(thresholds).value <= one.misses_at(rate).value + 1e-9


def test_alarms_are_spent_where_they_save_most():
    # An alarm of keyword 0 saves three keywords, one of keyword 1 a single one.
    spoken, hits = np.array([0, 0, 0, 0, 1, 1]), np.array([0.9, 0.5, 0.5, 0.5, 0.9, 0.5])
    alarms = Alarms(np.array([0, 1]), np.array([0.7, 0.7]), 1.0)
    found = chosen(Heard(spoken, hits, alarms), 1.0)
    assert found == pytest.approx({0: (0.01 + 0.5) / 2, 1: (0.7 + 0.9) / 2}), "half way to the faintest that is heard"


def test_a_keyword_whose_alarms_are_loudest_of_all_is_not_heard():
    found = chosen(Heard(np.array([0]), np.array([0.5]), Alarms(np.array([0]), np.array([0.999]), 1.0)), 0.5)
    assert 0.999 < found[0] < 0.9991


def test_each_keyword_is_told_from_its_own_threshold_on():
    scores = np.array([[0.6, 0.6], [0.1, 0.1]])
    spotter = Spotter([0, 1], SpottingConfig(), {0: 0.5, 1: 0.7})
    assert [one.keyword for one in [*spotter.push(scores, np.array([0.0, 5.0])), *spotter.finish()]] == [0]


@pytest.fixture
def run(causal_run, tmp_path) -> RunDir:
    """A copy, of which no thresholds are known."""
    run = RunDir(shutil.copytree(causal_run.root, tmp_path / "run"))
    model_card.save(run.model_card, replace(model_card.load(run.model_card), thresholds={}))
    return run


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    for number in range(12):
        noise = 0.1 * np.random.default_rng(number).standard_normal(3 * RATE)
        soundfile.write(tmp_path / "home" / f"{number}.wav", noise, RATE, subtype="PCM_16")
    return tmp_path / "home"


def test_evaluate_chooses_them_on_validation_and_detect_goes_by_them(run, home, tones, capsys):
    word = next((tones / "low").glob("*.wav"))
    assert Classifier.open(run, "best").thresholds is None
    detect.main([str(run.root), str(word), "--model", "best", "--json"])
    assert "no thresholds were chosen for best (python -m hpcnas.evaluate RUN does): 0.5 for all" in capsys.readouterr().err
    evaluate.main([str(run.root), "--model", "best", "--set", f"data.negatives=[{json.dumps(str(home))}]", "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert not err and found["thresholds"]["keywords"] and not Thresholds(**found["thresholds"]).is_supported
    after, before = (found["figures"][f"calibration error{of}"]["value"] for of in (", calibrated", ""))
    assert 0 <= after <= 1 and after != before
    assert "misses at the thresholds" in found["figures"] and "false alarms an hour at the thresholds" in found["figures"]
    own = Classifier.open(run, "best").thresholds
    assert {row["name"]: row["threshold"] for row in found["classes"] if row["threshold"]} == own.keywords
    assert set(own.keywords) == {"low", "mid", "high"}
    card = json.loads(run.model_card.read_text())
    assert card["thresholds"]["best"]["keywords"] == own.keywords and own.temperature != 1
    classifier, samples = Classifier.open(run, "best"), np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    cold, hot = (replace(classifier, thresholds=replace(own, temperature=t)).predict(samples) for t in (1.0, 9.0))
    assert hot.score < cold.score < 1 and hot.class_name == cold.class_name
    # One that is out of reach, and one that everything reaches.
    for threshold, is_told in ((1.1, False), (0.0, True)):
        thresholds = replace(own, keywords={**dict.fromkeys(own.keywords, 1.1), "low": threshold})
        model_card.add_thresholds(run.model_card, "best", thresholds)
        detect.main([str(run.root), str(word), "--model", "best", "--json"])
        out, err = capsys.readouterr()
        assert bool(out) is is_told and not err
    detect.main([str(run.root), str(word), "--model", "best", "--json", "--threshold", "0"])
    assert len(capsys.readouterr().out.splitlines()) >= 3


def test_what_they_rest_on_is_told():
    few = evaluate.basis(Thresholds({"yes": 0.7}, 1.0, 0.06, "", 0.8), is_kept=True)
    assert few.startswith(
        "temperature 0.80 and thresholds for 1 false alarms an hour, chosen on validation with 0.06 h without"
    )
    assert few.endswith("tell little of that rate (3 h would: data.negatives); kept in model_card.json")
    assert "little" not in evaluate.basis(Thresholds({"yes": 0.7}, 1.0, 3.0, ""), is_kept=True)
    assert evaluate.basis(Thresholds({}, 0.0, 0.0, "", 1.5), is_kept=False) == "temperature 1.50, chosen on validation"


def test_thresholds_of_weights_that_are_no_more_are_forgotten(run):
    classifier = Classifier.open(run, "best")
    kept = Thresholds({"low": 0.5}, 1.0, 3.0, classifier.digest)
    model_card.add_thresholds(run.model_card, "best", kept)
    again = Classifier.open(run, "best")
    assert again.thresholds == kept and again.as_file({}).card.thresholds == {"best": kept}
    model_file.save(run.root / "model.h5", again.as_file({}))
    assert Classifier.read(run.root / "model.h5").thresholds == kept
    path = run.search.weights(classifier.members[0].trial)
    arrays = {name: array + 1 for name, array in weights.load_arrays(path).items()}
    changed = replace(classifier, stored=[replace(classifier.stored[0], arrays=arrays)])
    assert changed.digest != classifier.digest
    card = model_card.load(run.model_card)
    model_card.save(run.model_card, replace(card, thresholds={"best": replace(kept, weights=changed.digest)}))
    assert Classifier.open(run, "best").thresholds is None


def test_other_data_choose_none(run, tones, capsys):
    before = run.model_card.read_bytes()
    evaluate.main([str(run.root), str(tones), "--model", "best", "--json"])
    for other in ("data.unknown_percent=50", "spotting.smoothing_s=1.0"):
        evaluate.main([str(run.root), "--model", "best", "--set", other, "--json"])
    assert run.model_card.read_bytes() == before and "thresholds" not in capsys.readouterr().err


def test_where_no_class_stands_for_the_others_an_answer_may_be_none_of_these(run):
    classifier = Classifier.open(run, "best")
    labels, logits = np.arange(60) % len(classifier.class_names), np.zeros((60, len(classifier.class_names)))
    logits[np.arange(60), labels] = np.linspace(1, 4, 60)
    split = SimpleNamespace(labels=labels)
    assert calibrated(classifier, logits, split).thresholds.none_below == 0
    alone = replace(classifier, class_names=[name.replace("_unknown_", "de") for name in classifier.class_names])
    alone = calibrated(alone, logits, split)
    assert 0 < alone.thresholds.none_below < 1
    told = {figure.name: figure.value for figure in refused(alone.posteriors(logits), labels, alone.thresholds.none_below)}
    assert told == pytest.approx({"right answers refused": 2 / 60})
    samples = np.zeros(RATE, np.float32)
    answers = [replace(alone, thresholds=replace(alone.thresholds, none_below=p)).predict(samples) for p in (0.0, 1.1)]
    assert [answer.is_none for answer in answers] == [False, True]
