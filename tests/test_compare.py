"""Models against each other on one corpus: who is trained, who is best, what is printed."""

from __future__ import annotations

import json
import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import completed, made_run, write

from hpcnas.compare import arrange, begin, prepare
from hpcnas.core.architecture import Architecture
from hpcnas.core.contest import Contestant, schedule, stand
from hpcnas.core.errors import ConfigError, HpcnasError, RunError
from hpcnas.core.significance import percentile_interval, resampled_means
from hpcnas.core.trial import Result, Trial
from hpcnas.judging import standings
from hpcnas.judging.standings import Outcome, Row
from hpcnas.runtime.contestants import named, searched
from hpcnas.runtime.roles import Roles
from hpcnas.store.journal import Journal, archive_of, replay
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier
from hpcnas.zoo import ZOO

LABELS = np.random.default_rng(0).integers(4, size=300)


def contestant(name: str, accuracy: float, loss: float, seed: int = 0, trainings: int = 3) -> Contestant:
    """Right on that share of the examples, others in each training."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((trainings, len(LABELS), 4))
    for one in logits:
        right = rng.permutation(len(LABELS)) < accuracy * len(LABELS)
        one[np.arange(len(LABELS)), (LABELS + ~right) % 4] = 9
    return Contestant(name, (loss,) * trainings, (-loss,) * trainings, logits)


def test_the_best_is_chosen_on_validation_and_the_others_stand_behind_it():
    first, second, third = stand(
        [contestant("low", 0.7, 0.9), contestant("chosen", 0.9, 0.2, seed=1), contestant("lucky", 0.92, 0.3, seed=2)], LABELS
    )
    assert [s.name for s in (first, second, third)] == ["lucky", "chosen", "low"]
    assert second.is_best and second.behind == 0 and second.behind_interval == (0, 0)
    assert first.behind == pytest.approx(-0.02, abs=1e-6) and first.p > 0.05
    assert third.behind == pytest.approx(0.2) and third.p < 0.001 and third.behind_interval[0] > 0.1
    for standing in (first, second, third):
        assert standing.interval[0] < standing.accuracy < standing.interval[1] and len(standing.accuracies) == 3
        assert 0 <= standing.eer < 0.5


def test_an_interval_over_trainings_and_examples_is_wider_where_trainings_differ():
    rng = np.random.default_rng(0)
    alike = rng.random((3, 500)) < 0.8
    apart = rng.random((3, 500)) < np.array([[0.7], [0.8], [0.9]])
    (low, high), (lower, higher) = map(percentile_interval, resampled_means([alike, apart]))
    assert low < alike.mean() < high and high - low > 0.04
    assert higher - lower > 1.5 * (high - low)


def test_differences_are_paired_by_example():
    right = np.random.default_rng(0).random((1, 400)) < 0.7
    one, other = resampled_means([right, right])
    assert np.allclose(one, other), "a model is not behind itself in any resample"


TOWERS = {name: Architecture.parse(f"dense:units={units}") for name, units in (("small", 8), ("large", 64))}
WORK = {"small": 8, "large": 64}


def test_every_model_is_trained_once_a_round_the_largest_first():
    assert [p.mutation for p in schedule([], TOWERS, 2, WORK)] == ["large", "small", "large", "small"]


def test_what_was_begun_keeps_its_place_and_more_models_and_rounds_come_behind():
    begun = schedule([], {"small": TOWERS["small"]}, 2, WORK)
    more = schedule(begun, TOWERS, 3, WORK)
    assert more[:2] == begun and [p.mutation for p in more[2:]] == ["large", "large", "large", "small"]
    assert schedule(more, TOWERS, 1, WORK) == more, "fewer rounds take nothing away"


def test_models_are_named_by_the_zoo_by_architecture_or_as_what_was_searched(tmp_path):
    own = "mine=svdf:filters=64,memory=8/gru:units=32"
    assert named(["zoo", "best", own, "bc-resnet-1,TENet6"]) == ["zoo", "best", own, "BC-ResNet-1", "TENet6"]
    for word, message in (
        ("resnet", 'no model "resnet" in the zoo'),
        ("mine=svdff:units=3", 'mine=svdff:units=3: unknown block "svdff"'),
        ("Res8=gru:units=8", '"Res8" is taken'),
    ):
        with pytest.raises(ConfigError, match=message):
            named([word])
    run = made_run(tmp_path / "run")
    assert searched(run) == archive_of(run.search.journal).best()[0].architecture


@pytest.fixture
def outcome() -> Outcome:
    models = [contestant("BC-ResNet-1", 0.8, 0.3), contestant("<mine>", 0.9, 0.2)]
    rows = [Row(s, "dense:units=8", 9232, 1_200_000, 1.234, 60.0) for s in stand(models, LABELS)]
    left_out = {"Res15": "params = 239142, over max_params = 65000", "x-vector": "cannot be built"}
    return Outcome(rows, left_out, len(LABELS), 40)


def test_what_is_stored_can_be_read_again(outcome, tmp_path):
    standings.save(tmp_path / "standings.json", outcome)
    again = standings.load(tmp_path / "standings.json")
    assert standings.as_values(again) == standings.as_values(outcome) and again.rows[0].standing.is_best
    assert json.loads((tmp_path / "standings.json").read_text())["models"][0]["standing"]["p"] is None


def test_the_page_shows_all_models_and_stands_alone(outcome, tmp_path):
    standings.write_page(tmp_path / "report" / "compare.html", "run", outcome)
    page = (tmp_path / "report" / "compare.html").read_text()
    assert page.count("<svg") == 3 and "&lt;mine&gt;" in page and "<mine>" not in page
    assert ZOO["BC-ResNet-1"].paper in page and "Res15 (params = 239142)" in page and "src=" not in page


def test_a_killed_comparison_goes_on_and_takes_in_more_models(mpirun, mpistart, tiny, tmp_path):
    """One process, killed after its first result; then two groups, to the table; then a second model."""
    run = RunDir(tmp_path / "run")
    settings = ["--set", "space.max_params=6000", "--set", "space.max_activations=0", "--run", str(run.root)]
    asked = ["hpcnas.compare", *tiny, *settings, "--seeds", "2", "--models"]
    process = mpistart(1, *asked, "zoo")
    deadline = time.monotonic() + 120
    while not any(isinstance(record.event, Result) for record in replay(run.comparison.journal)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = run.comparison.journal.read_bytes().splitlines()[:2]
    done = mpirun(3, *asked, "zoo", "--resume")
    assert done.returncode == 0 and "SparkNet-16" in done.output, done.output
    assert "left out, over max_params = 6000: TC-ResNet8 (params = " in done.output and run.comparison.complete.exists()
    assert run.comparison.journal.read_bytes().splitlines()[:2] == before
    done = mpirun(1, *asked, "mine=dense:units=8", "--resume", "--json")
    assert done.returncode == 0, done.output
    values = json.loads(done.output[done.output.index("{\n") :].partition("\n}\n")[0] + "\n}")
    assert {m["standing"]["name"]: len(m["standing"]["accuracies"]) for m in values["models"]} == {"SparkNet-16": 2, "mine": 2}
    assert "<svg" in run.evaluation("compare").read_text()
    archive = archive_of(run.comparison.journal)
    assert len(archive.results) == 4 and Classifier.open(run, "SparkNet-16").params == archive.results[0].cost.params


FRONT_END = SimpleNamespace(mean=torch.zeros(40), std=torch.ones(40))
CORPUS = SimpleNamespace(bands=40, window=98, class_names=("no", "yes"), front_end=FRONT_END)
"""All that is asked of one before training."""


def beginning(run: RunDir, *words: str, resume: bool = False):
    """Do what a comparison in ``run`` does up to its first training."""
    settings = [] if "--set" in words else ["--set", "space.max_activations=0"]
    run, config, arguments = prepare([*words, *settings, "--run", str(run.root), *(["--resume"] if resume else [])])
    arranged = arrange(run, config, CORPUS, arguments)
    begin(run, config, Roles(ranks=1, group_size=1), remember=lambda: None)
    return arranged


@pytest.mark.parametrize(
    "words, message",
    [
        (["--set", "space.max_params=100"], "no model of the zoo keeps space.max_params = 100, space.max_macs = 2000000, "),
        (["--models", "best"], "no search has a result here yet"),
        (["--models", "x-vector", "--set", "space.causal=true"], "x-vector: cannot be built: statistics_pool is not causal"),
        (["--seeds", "0"], "--seeds 0: must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(words, message, tmp_path):
    with pytest.raises(HpcnasError, match=message) as error:
        beginning(RunDir(tmp_path / "run"), *words)
    assert len(str(error.value).splitlines()) == 1 and not (tmp_path / "run" / "config.toml").exists()


def test_models_by_name_are_trained_whatever_the_limits_and_what_was_begun_stays_as_it_is(tmp_path):
    run = RunDir(tmp_path / "run")
    lineup, left_out, _ = beginning(run, "--models", "zoo", "Res8", "mine=dense:units=8", "--seeds", "1")
    assert {"Res8", "mine", "SparkNet-16"} < {proposal.mutation for proposal in lineup.given}
    assert "Res15" in left_out and "Res8" not in left_out and run.config.exists()
    journal = Journal(run.comparison.journal)
    for id_, proposal in enumerate(lineup.given):
        write(journal, Trial(id_, proposal, seed=id_), 1.0)
    write(journal, completed(0, 0.9), 2.0)
    with pytest.raises(RunError, match="--resume goes on with it, or adds to it"):
        beginning(run, "--models", "mine=dense:units=16")
    with pytest.raises(RunError, match='"mine" was begun as dense:units=8; give the other one another name'):
        beginning(run, "--models", "mine=dense:units=16", resume=True)
    with pytest.raises(RunError, match=r"was begun with ensemble\.epochs = 20, now 3"):
        beginning(run, "--set", "ensemble.epochs=3", "--set", "space.max_activations=0", resume=True)
    with pytest.raises(RunError, match="belongs to another configuration"):
        beginning(run, "--set", "training.batch_size=3", "--set", "space.max_activations=0", resume=True)
    run.comparison.complete.touch()
    again, _, is_complete = beginning(run, "--models", "SVDF-6", "--seeds", "1", resume=True)
    assert again.given[:-1] == lineup.given and again.given[-1].mutation == "SVDF-6" and not is_complete
    assert not run.comparison.complete.exists()
