"""Other classes for a finished model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch
from helpers import files

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data.corpus import DataConfig
from hpcnas.data.target import data_of
from hpcnas.nn.adaptation import AdaptationConfig, few
from hpcnas.nn.corpus import Split
from hpcnas.nn.model import Surroundings, build_model
from hpcnas.store import ensemble_file
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier


def split(labels: list[int]) -> Split:
    count = len(labels)
    return Split(np.zeros((count, 2)), np.arange(count), np.ones(count, int), np.ones(count, int), np.array(labels))


def test_so_many_recordings_of_each_class_are_drawn_by_seed():
    train = split([0, 1] * 20)
    one, same, other = (few(train, ("a", "b"), AdaptationConfig(shots=3, steps=1), 32, seed) for seed in (0, 0, 1))
    taken = [set(drawn.starts.tolist()) for drawn in (one, same, other)]
    assert taken[0] == taken[1] != taken[2] and len(taken[0]) == 6
    assert np.bincount(one.labels).tolist() == [one.labels.size // 2] * 2


def test_few_recordings_are_taken_several_times_an_epoch_and_many_once():
    config = AdaptationConfig(steps=100, epochs=10)
    assert len(few(split([0, 1]), ("a", "b"), config, 4, 0)) == 10 * 4
    assert len(few(split([0, 1] * 50), ("a", "b"), config, 4, 0)) == 100


def test_more_shots_than_there_are_is_refused():
    with pytest.raises(DataError, match=r'adaptation.shots = 2: only 1 recordings of "b" are for training'):
        few(split([0, 0, 1]), ("a", "b"), AdaptationConfig(shots=2), 4, 0)
    drawn = few(split([0, 0, 1]), ("a", "_silence_"), AdaptationConfig(shots=2, steps=1, epochs=1), 3, 0)
    assert np.bincount(drawn.labels).tolist() == [2, 1], "what is drawn to go with the others may be fewer"


@pytest.mark.parametrize(("settings", "message"), [({"train": "tail"}, "adaptation.train"), ({"rate": 0.0}, "adaptation.rate")])
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        AdaptationConfig(**settings)


def test_a_frozen_tower_stays_as_it_is_with_its_statistics():
    around = Surroundings(bands=8, classes=3, dropout=0.5)
    model = build_model(Architecture.parse("tdnn:channels=8,dilation=1,kernel=3/dense:units=8"), around, seed=0)
    model.freeze_tower()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randn(4, 8, 20)).square().sum().backward()
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter -= 0.1 * parameter.grad
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"} and model.dropout.training


def test_a_folder_tells_what_is_to_be_learnt(tones, tmp_path):
    data = data_of(tones, DataConfig(negatives=()))
    assert (
        data["keywords"] == ["high", "low", "mid", "other"] and data["unknown_percent"] == 0 and data["silence_percent"] == 10
    )
    for name in ("yes", "_unknown_"):
        (tmp_path / name).mkdir()
    data = data_of(tmp_path, DataConfig())
    assert data["keywords"] == ["yes"] and data["unknown_percent"] == 100 and data["silence_percent"] == 0
    assert data_of(tmp_path, DataConfig(name="builtin_lid"))["name"] == "language_folders"
    (tmp_path / "yes").rmdir()
    with pytest.raises(DataError, match=r"has no folders of words, such as .*yes"):
        data_of(tmp_path, DataConfig())


QUICK = ["--set", "adaptation.steps=4", "--set", "adaptation.epochs=2"]


@pytest.fixture(scope="module")
def adapted(mpirun_once, finished_run, tones, tmp_path_factory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("adapted") / "run")
    before = files(finished_run.root)
    where = [str(finished_run.root), "--to", str(tones), "--run", str(run.root)]
    done = mpirun_once(3, "hpcnas.adapt", *where, "--shots", "3", "--train", "head", *QUICK)
    assert done.returncode == 0, done.output
    assert "adapted: test accuracy" in done.output and "trained anew: test accuracy" in done.output
    assert files(finished_run.root) == before
    return run


def test_the_tower_is_the_old_one_and_the_front_end_too(adapted, finished_run):
    old, new = Classifier.open(finished_run), Classifier.open(adapted)
    assert list(new.class_names) == ["high", "low", "mid", "other", "_silence_"] != list(old.class_names)
    assert torch.equal(old.front_end.mean, new.front_end.mean) and torch.equal(old.front_end.std, new.front_end.std)
    assert new.architectures == old.architectures
    for one, other in zip(old.stored, new.stored):
        for name, array in one.arrays.items():
            assert np.array_equal(array, other.arrays[name]) != name.startswith("classifier."), name
    trials = archive_of(adapted.ensemble.journal).trials.values()
    assert [trial.proposal.mutation for trial in trials] == ["adapted"] * len(old.stored) + ["anew"] * len(old.stored)


def test_it_is_used_like_any_other_model(adapted, tones, mpirun):
    ensemble = ensemble_file.load(adapted.ensemble_file)
    recording = next(tones.glob("low/*.wav"))
    answer = Classifier.open(adapted).predict(soundfile.read(recording)[0].astype(np.float32))
    assert answer.class_name in ensemble.class_names and set(answer.posteriors) == set(ensemble.class_names)
    assert Classifier.open(adapted, "anew").architectures == Classifier.open(adapted, "member 0").architectures
    done = mpirun(1, "hpcnas.evaluate", str(adapted.root), "--json")
    accuracy = json.loads(done.output[done.output.index("{") :])["figures"]["accuracy"]["value"]
    assert accuracy == pytest.approx((ensemble.logits["test"].argmax(1) == ensemble.labels["test"]).mean())


def test_the_same_command_says_that_all_is_done_and_another_is_refused(adapted, finished_run, tones):
    from mpi4py import MPI

    from hpcnas.adapt import adapt, prepare
    from hpcnas.core.errors import RunError

    command = [str(finished_run.root), "--to", str(tones), "--run", str(adapted.root), "--train", "head", *QUICK]
    assert adapt(MPI.COMM_SELF, [*command, "--shots", "3"]) == 0
    for more, message in (
        (["--shots", "4"], r"was begun with adaptation.shots = 3, now 4"),
        (["--shots", "3", "--model", "member 0"], "was begun with another model"),
        (["--shots", "3", "--set", "seed=1"], "was begun otherwise"),
    ):
        with pytest.raises(RunError, match=message):
            prepare([*command, *more])
    with pytest.raises(RunError, match="holds another run"):
        prepare([*command, "--run", str(finished_run.root)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[features]\nbands = 64\n[data]\npath = 'x'\n", "features.bands = 40, now 64: the model is what it is"),
        ("[space]\nmax_depth = 3\n", r"has no table \[data\]"),
        (None, "is neither a folder of recordings nor a .toml file"),
    ],
)
def test_what_a_model_cannot_be_adapted_to_is_told_in_one_line(content, message, finished_run, tmp_path):
    from hpcnas.adapt import prepare

    to = tmp_path / "to.toml" if content else tmp_path / "absent"
    if content:
        to.write_text(content)
    with pytest.raises(ConfigError, match=message):
        prepare([str(finished_run.root), "--to", str(to), "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
