"""Figures of a model, and of two models on the same recordings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcnas import evaluate
from hpcnas.core import false_alarms
from hpcnas.core.false_alarms import Alarms, Heard
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.judging.evaluation import figures_of, in_the_field
from hpcnas.judging.versus import fitted
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.runtime.together import is_a_rank
from hpcnas.store import model_file
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier


def values(capsys, *arguments: object) -> dict:
    evaluate.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def in_another_order(causal_run, tmp_path_factory) -> Path:
    """The best model of the run as a file that numbers its classes the other way round."""
    model = Classifier.open(causal_run, "best").as_file({})
    (one,) = model.stored
    turned = {name: one.arrays[name][::-1].copy() for name in ("classifier.weight", "classifier.bias")}
    card = replace(model.card, class_names=tuple(model.card.class_names)[::-1])
    path = tmp_path_factory.mktemp("models") / "turned.h5"
    model_file.save(path, replace(model, card=card, stored=[replace(one, arrays={**one.arrays, **turned})]))
    return path


@pytest.fixture(scope="module")
def other_run(mpirun_once, tiny_once, tmp_path_factory) -> Path:
    """A run that hears the same words otherwise, and numbers them in another order."""
    run = tmp_path_factory.mktemp("other") / "run"
    given = ['data.keywords=["high", "low", "mid"]', "features.bands=23", "features.kind=mfcc"]
    given += ["features.normalisation=utterance", "search.max_trials=1", "training.epochs=4"]
    done = mpirun_once(1, "hpcnas.search", *tiny_once, *(a for one in given for a in ("--set", one)), "--run", str(run))
    assert done.returncode == 0, done.output
    return run


def test_models_that_number_their_classes_otherwise_are_compared_by_name(causal_run, in_another_order, capsys):
    found = values(capsys, causal_run.root, "--model", "best", "--against", in_another_order)
    assert found["p"] == 1.0 and found["accuracy"] == found["against_accuracy"] == found["figures"]["accuracy"]["value"]
    assert values(capsys, in_another_order, "--against", f"{causal_run.root}:best")["p"] == 1.0


def test_each_model_hears_through_its_own_front_end(causal_run, other_run, capsys):
    alone = values(capsys, other_run, "--model", "best")["figures"]["accuracy"]["value"]
    found = values(capsys, causal_run.root, "--model", "best", "--against", f"{other_run}:best")
    assert found["against_accuracy"] == alone and found["against"] == f"{other_run}:best"
    back = values(capsys, other_run, "--model", "best", "--against", f"{causal_run.root}:best")
    assert (back["accuracy"], back["against_accuracy"], back["p"]) == (alone, found["accuracy"], found["p"])


def test_the_table_says_what_was_compared(causal_run, in_another_order, capsys):
    evaluate.main([str(causal_run.root), "--model", "best", "--against", str(in_another_order)])
    out = " ".join(capsys.readouterr().out.split())
    assert "p = 1.0000 (McNemar's exact test)" in out and "% against" in out


def test_models_of_other_classes_are_not_compared(causal_run, in_another_order, tmp_path, capsys):
    model = model_file.load(in_another_order)
    names = tuple("bass" if name == "low" else name for name in model.card.class_names)
    model_file.save(tmp_path / "bass.h5", replace(model, card=replace(model.card, class_names=names)))
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(causal_run.root), "--model", "best", "--against", str(tmp_path / "bass.h5")])
    error = capsys.readouterr().err
    assert 'since "best" alone knows low and "' in error and "alone knows bass" in error and error.count("\n") == 1


@pytest.mark.parametrize("text", ["nobody", "runs/nowhere", "nowhere:best"])
def test_an_opponent_that_is_not_there_is_named(causal_run, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(causal_run.root), "--model", "best", "--against", text])
    error = capsys.readouterr().err
    assert f'has no model "{text}"' in error and error.count("\n") == 1


def test_a_model_of_a_longer_window_hears_the_same_stretches_padded():
    short, long = Example(Path("a"), 0, 0.0, 1.0, 0.4), Example(Path("b"), 0, 2.0, 3.0, 3.0)
    one_window = Example(Path("c"), 0)
    index = CorpusIndex(("x",), {"train": (), "validation": (), "test": (short, long, one_window)}, ())
    heard = fitted(index, DataConfig(window_s=2.0)).splits["test"]
    assert heard == (replace(short, length_s=2.0), long, one_window)
    assert fitted(index, DataConfig(window_s=0.5)).splits["test"][0] == replace(short, length_s=0.5)


def test_a_class_that_the_model_never_knew_is_one_line(causal_run, tones, tmp_path, capsys):
    run = shutil.copytree(causal_run.root, tmp_path / "run")
    given = ["--set", "data.protocol=all", "--set", "data.keywords=[]"]
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(run), str(tones), "--model", "0", *given])
    error = capsys.readouterr().err
    assert "classes that the model does not know: other" in error and error.count("\n") == 1


@pytest.mark.parametrize(("rate", "hours", "misses"), [(10, 0.3, 0.3), (10, 0.29, None), (1, 3.0, 0.3), (0.5, 5.9, None)])
def test_misses_at_a_rate_are_told_from_three_expected_false_alarms_on(rate, hours, misses):
    hits, alarms = np.linspace(0.1, 1, 10), np.array([0.35, 0.35, 0.35, 0.35, 0.45])
    one = Heard(np.zeros(10, int), hits, Alarms(np.zeros(5, int), alarms, hours))
    figure = next(one for one in in_the_field(one) if one.name.startswith(f"misses at {rate} false alarm"))
    assert figure.is_known is (misses is not None) and figure.hours == hours
    if misses is None:
        assert f"{3 / rate:g} h without keywords would be needed (data.negatives), not {hours:.2f}" == figure.unsupported
    else:
        assert figure.value == pytest.approx(misses) and figure.interval[0] < misses < figure.interval[1]


def streamed(classifier: Classifier, seconds: int):
    """Figures on so many seconds of noise, every second one of them a keyword."""
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((100 * seconds, 40)).astype(np.float16)
    hundred = np.full(seconds, 100)
    labels = np.arange(seconds) % 2 * (len(classifier.class_names) - 1)
    split = Split(frames, 100 * np.arange(seconds), hundred, hundred, labels)
    corpus = Corpus(split, split, split, 100, torch.zeros(0, 40, 100), classifier.front_end, tuple(classifier.class_names))
    logits = rng.standard_normal((seconds, len(classifier.class_names))).astype(np.float32)
    return figures_of(classifier, corpus, split, logits)


def test_few_minutes_tell_no_misses_an_hour_and_say_why(causal_run, monkeypatch, tmp_path):
    classifier = Classifier.open(causal_run, "best")
    spotting = replace(classifier.config.spotting, hop_s=0.5)
    classifier = replace(classifier, config=replace(classifier.config, spotting=spotting), thresholds=None)
    few = streamed(classifier, 40)
    named = {figure.name: figure for figure in few.figures}
    assert not any(figure.is_known for name, figure in named.items() if name.startswith("misses"))
    assert named.keys() >= {f"misses at {rate} an hour" for rate in ("0.5 false alarms", "1 false alarm", "10 false alarms")}
    assert "misses at 1 false alarm an hour: not told, 3 h without keywords would be needed (data.negatives), not 0.01" in (
        few.withheld
    )
    values = evaluate.as_values(few, None)["figures"]["misses at 10 false alarms an hour"]
    assert values["value"] is None and values["hours"] == few.hours and "0.3 h" in values["unsupported"]
    evaluate.write_page(tmp_path / "few.html", "few", classifier, few)
    page = (tmp_path / "few.html").read_text()
    assert "misses at 10 false alarms an hour: not told" in page.lower()
    assert "<td>misses at 1" not in page and "misses at 1/h" not in page
    monkeypatch.setattr(false_alarms, "LEAST_ALARMS", 0.01)
    many = streamed(classifier, 80)
    assert many.hours == pytest.approx(40 / 3600) and not any(line.startswith("misses at 1 ") for line in many.withheld)
    evaluate.write_page(tmp_path / "many.html", "many", classifier, many)
    assert "<td>misses at 10 false alarms an hour, of 0.01 h</td>" in (tmp_path / "many.html").read_text()


def test_the_run_s_own_figures_are_those_of_a_file_of_it(causal_run: RunDir, in_another_order, capsys):
    (one, other) = (values(capsys, *of)["figures"] for of in ((causal_run.root, "--model", "best"), (in_another_order,)))
    assert {name: figure["value"] for name, figure in one.items()} == pytest.approx(
        {name: figure["value"] for name, figure in other.items()}
    )


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "64"}, False),  # a batch script, or salloc's shell
        ({"SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"}, False),  # srun --pty bash
        ({"SLURM_STEP_NUM_TASKS": "64", "PMIX_RANK": "7"}, True),
        ({"SLURM_STEP_NUM_TASKS": "1", "OMPI_COMM_WORLD_SIZE": "64", "PMIX_RANK": "7"}, True),  # mpirun within such a shell
        ({"PMI_SIZE": "4"}, True),
        ({"PMI_SIZE": "1"}, False),
    ],
)
def test_a_process_is_a_rank_where_a_launcher_of_several_started_it(said, is_one):
    assert is_a_rank(said) is is_one
