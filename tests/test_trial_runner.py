"""What a group does with an assignment, in one process: the line to the coordinator is a script."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_training import CORPUS, OFF
from torch import nn

from hpcnas.core.budget import Budget
from hpcnas.core.errors import RunError
from hpcnas.core.inheritance import NoInheritance, Parent
from hpcnas.core.messages import Ahead, Assignment, Progress, Ready, Stop, Verdict
from hpcnas.core.metrics import OBJECTIVES
from hpcnas.core.space import spell
from hpcnas.core.trial import Donor, Proposal, Result, Trial, TrialState
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.losses import TeamLoss
from hpcnas.nn.model import Surroundings
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer
from hpcnas.runtime.models import Library, labels_together, stored_logits
from hpcnas.runtime.trial_runner import TrialRunner
from hpcnas.store import weights
from hpcnas.store.run_dir import RunDir

AROUND = Surroundings(CORPUS.bands, 3)
SAME = ("state", "score", "loss", "curve", "steps", "epochs")


class Alone:
    """The channel of a group of one."""

    is_leader = True

    def tell(self, order: object) -> object:
        return order


class Script:
    """Answers the messages of a leader, the last answer for ever."""

    def __init__(self, *verdicts: Verdict) -> None:
        self._verdicts = [*verdicts, Verdict.CONTINUE]
        self.heard: list[Progress] = []
        self.announced: list[Ahead] = []

    def announce(self, message: Ahead) -> None:
        self.announced.append(message)

    def ask(self, message: Progress) -> Verdict:
        self.heard.append(message)
        return self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]


def trial(id_: int, text: str = "dense:units=8", **proposal) -> Trial:
    return Trial(id_, Proposal(spell(text, BLOCK_TYPES), None, "start", **proposal), seed=id_)


@pytest.fixture
def run(tmp_path):
    """Run a trial in a run directory below ``tmp_path``."""

    def run(given: Trial, *verdicts: Verdict, line: Script | None = None, paused: Result | None = None, **changes) -> Result:
        training = TrainingConfig(epochs=4, batch_size=8, **changes.pop("training", {}))
        parts = {
            "number": 0,
            "channel": Alone(),
            "line": line or Script(*verdicts),
            "trainer": Trainer(CORPUS, SoloGroup(), training, AugmentationConfig()),
            "around": AROUND,
            "augmentation": AugmentationConfig(),
            "inheritance": NoInheritance(),
            "stage": RunDir(tmp_path).search,
            "budget": Budget(),
        }
        donors = changes.pop("donors", ())
        return TrialRunner(**{**parts, **changes}).run(Assignment(given, donors, paused))

    return run


def test_a_suspended_trial_goes_on_as_if_it_had_never_been_cut_off(run, tmp_path):
    whole = run(trial(0))
    stage = RunDir(tmp_path / "other").search
    assert run(trial(0), Verdict.CONTINUE, Verdict.SUSPEND, stage=stage) is None
    assert stage.checkpoint(0).exists() and not stage.weights(0).exists()
    line = Script()
    parts = run(trial(0), line=line, stage=stage)
    assert [message.epoch for message in line.heard] == [3], "two epochs were behind it"
    assert all(getattr(parts, name) == getattr(whole, name) for name in SAME)
    assert not stage.checkpoint(0).exists()


def test_a_running_trial_leaves_checkpoints_when_its_time_has_come(run, tmp_path):
    stage, seen = RunDir(tmp_path).search, []

    class Look(Script):
        def ask(self, message: Progress) -> Verdict:
            seen.append(stage.checkpoint(0).exists())
            return Verdict.CONTINUE

    run(trial(0), line=Look(), training={"checkpoint_s": 1e-9})
    assert seen == [False, True, True] and not stage.checkpoint(0).exists()


@pytest.mark.parametrize(
    ("verdict", "times"), [(Verdict.CONTINUE, 1), (Verdict.PAUSE, 1), (Verdict.STOP, 1), (Verdict.SUSPEND, 0)]
)
def test_the_next_trial_is_asked_for_as_soon_as_the_end_is_known(run, verdict, times):
    line = Script(verdict)
    run(trial(0), line=line)
    assert line.announced == [Ahead(0)] * times


def test_a_paused_trial_goes_on_from_its_weights(run):
    first = run(trial(0), Verdict.PAUSE)
    assert first.state is TrialState.PAUSED and len(first.curve) == 1
    line = Script()
    after = run(trial(0), line=line, paused=first)
    assert after.state is TrialState.COMPLETED and after.curve[:1] == first.curve and len(after.curve) == 4
    assert after.seconds > first.seconds and line.heard[0].epoch == 2


def test_a_model_that_is_too_slow_is_infeasible_before_any_training(run, tmp_path):
    result = run(trial(0), budget=Budget(max_latency_ms=1e-6))
    assert result.state is TrialState.INFEASIBLE and result.steps == 0 and result.cost.latency_ms > 1e-6
    assert "over max_latency_ms = 1e-06" in result.error and not RunDir(tmp_path).search.weights(0).exists()
    assert run(trial(1), budget=Budget(max_latency_ms=1e6)).cost.latency_ms > 0


def test_larger_models_get_more_epochs_if_asked(run):
    result = run(trial(0, "dense:units=32"), training={"epochs_per_100k": 400.0})
    assert result.epochs == 4 + round(400 * result.cost.params / 100_000) > 5


def test_a_trial_trains_with_its_own_settings(run):
    usual = run(trial(0))
    for settings in ((("learning_rate", 1e-3),), (("augmentation", 0.0),), (("mixup", 0.3), ("shift", 0.0))):
        assert run(trial(0, settings=settings)).loss != usual.loss


def test_a_trial_with_a_team_is_scored_by_the_mean_of_all_logits(run, tmp_path):
    run(trial(0))
    result = run(trial(1, "tdnn:channels=8,kernel=3,dilation=1", team=(0,)))
    stage, labels = RunDir(tmp_path).search, CORPUS.validation.labels
    together = sum(weights.load_logits(stage.weights(i), "validation") for i in (0, 1)) / 2
    assert result.score == pytest.approx((together.argmax(1) == labels).mean())


def test_team_mates_are_lent_as_they_were_stored_and_do_not_change(run, tmp_path):
    run(trial(0))
    stage = RunDir(tmp_path).search
    before = weights.load_arrays(stage.weights(0))
    alone = run(trial(1))
    together = run(trial(1, team=(0,)), objective=labels_together)
    assert together.loss != alone.loss
    trainer = Trainer(CORPUS, SoloGroup(), TrainingConfig(), OFF)
    lent = Library(Alone(), AROUND, trainer.device).lend(stage, 0)
    np.testing.assert_array_equal(
        trainer.evaluate(lent, CORPUS.validation), weights.load_logits(stage.weights(0), "validation")
    )
    np.testing.assert_array_equal(lent.classifier.weight.numpy(), before["classifier.weight"])
    assert isinstance(labels_together(trial(1, team=(0,)), 0.1, stage, Library(Alone(), AROUND, trainer.device)), TeamLoss)


def test_logits_that_were_not_stored_are_computed(run, tmp_path):
    run(trial(0))
    path = RunDir(tmp_path).search.weights(0)
    logits = stored_logits(path, ("validation", "test"), AROUND, Trainer(CORPUS, SoloGroup(), TrainingConfig(), OFF))
    assert weights.splits(path) == ("validation",) and logits["test"].shape == (len(CORPUS.test.labels), 3)
    np.testing.assert_array_equal(logits["validation"], weights.load_logits(path, "validation"))


def test_large_logits_that_nobody_builds_on_are_not_stored_with_every_trial(run, tmp_path):
    run(trial(0), largest_logits=CORPUS.validation.labels.size * 3 * 4)
    kept = weights.load_logits(RunDir(tmp_path).search.weights(0), "validation")
    other = RunDir(tmp_path / "other").search
    run(trial(0), stage=other, largest_logits=kept.nbytes - 1)
    assert weights.splits(other.weights(0)) == ()
    trainer = Trainer(CORPUS, SoloGroup(), TrainingConfig(), OFF)
    computed = stored_logits(other.weights(0), ("validation",), AROUND, trainer)["validation"]
    np.testing.assert_allclose(computed, kept, rtol=1e-4, atol=1e-5)


def test_a_trial_that_diverges_fails_alone(run):
    result = run(trial(0), inheritance=Parent(), training={"learning_rate": 1e30, "clip": 0.0, "warmup": 0.0})
    assert result.state is TrialState.FAILED and result.error == "loss not finite in epoch 1" and np.isnan(result.score)


class Breaking(Trainer):
    """Trains as ever, and has something about its model or its predictions that is not finite from epoch 2 on."""

    what: str
    value: float

    def evaluate(self, model: nn.Module, split: Split, batch_size: int = 256, quantised: bool = False) -> np.ndarray:
        self.done = getattr(self, "done", 0) + (split is CORPUS.validation)
        if self.done > 1 and self.what == "weights":
            model.blocks[0].module[1].running_var[3] = self.value  # of which infinity does not show in any logit
        logits = super().evaluate(model, split, batch_size, quantised)
        if self.done > 1 and self.what == ("validation" if split is CORPUS.validation else "test"):
            logits[5, 1] = self.value
        return logits


@pytest.fixture
def breaking(monkeypatch):
    def breaking(what: str, value: float) -> Trainer:
        monkeypatch.setattr(Trainer, "with_settings", lambda self, config, augmentation: self)
        trainer = Breaking(CORPUS, SoloGroup(), TrainingConfig(epochs=4, batch_size=8), OFF)
        trainer.what, trainer.value = what, value
        return trainer

    return breaking


VALUES = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_logits_that_are_not_finite_fail_the_trial_whatever_the_objective(run, tmp_path, breaking, objective, value):
    line = Script()
    result = run(trial(0), line=line, trainer=breaking("validation", value), metric=OBJECTIVES[objective])
    assert (result.state, result.error) == (TrialState.FAILED, "validation logits not finite in epoch 2")
    assert np.isnan(result.score) and np.isnan(result.loss) and len(result.curve) == len(line.heard) == 1
    assert not RunDir(tmp_path).search.weights(0).exists(), "nobody can inherit them"


@pytest.mark.parametrize("value", VALUES[:2])
def test_weights_that_are_not_finite_are_never_stored_even_if_no_logit_shows_it(run, tmp_path, breaking, value):
    result = run(trial(0), trainer=breaking("weights", value), training={"checkpoint_s": 1e-9})
    assert result.state is TrialState.FAILED
    assert result.error == "weights not finite in epoch 2: blocks.0.module.1.running_var"
    assert not RunDir(tmp_path).search.weights(0).exists() and not RunDir(tmp_path).search.checkpoint(0).exists()


def test_every_split_that_is_stored_is_looked_at(run, tmp_path, breaking):
    result = run(trial(0), trainer=breaking("test", np.nan), splits=("validation", "test"))
    assert (result.state, result.error) == (TrialState.FAILED, "test logits not finite in epoch 4")
    assert not RunDir(tmp_path).search.weights(0).exists()


def test_what_a_paused_trial_had_reached_still_counts_when_it_breaks_later(run, tmp_path, breaking):
    first = run(trial(0), Verdict.PAUSE)
    before = RunDir(tmp_path).search.weights(0).read_bytes()
    trainer = breaking("validation", np.nan)
    trainer.done = 1
    after = run(trial(0), paused=first, trainer=trainer)
    assert (after.state, after.score) == (TrialState.STOPPED, first.score)
    assert after.error == "validation logits not finite in epoch 2"
    assert RunDir(tmp_path).search.weights(0).read_bytes() == before


@pytest.mark.parametrize("place", ["arrays", "logits"])
def test_files_that_are_not_finite_are_read_by_nobody(run, tmp_path, place):
    run(trial(0))
    path = RunDir(tmp_path).search.weights(0)
    arrays, logits = weights.load_arrays(path), {"validation": weights.load_logits(path, "validation")}
    {"arrays": arrays["classifier.weight"], "logits": logits["validation"]}[place][1, 1] = np.inf
    weights.save(path, trial(0), arrays, logits)
    trainer, name = Trainer(CORPUS, SoloGroup(), TrainingConfig(), OFF), path.name
    readers = {
        "arrays": [
            lambda: Library(Alone(), AROUND, trainer.device).lend(RunDir(tmp_path).search, 0),
            lambda: run(trial(1), donors=(Donor(trial(0)),), inheritance=Parent()),
            lambda: stored_logits(path, ("test",), AROUND, trainer),
        ],
        "logits": [
            lambda: stored_logits(path, ("validation",), AROUND, trainer),
            lambda: run(trial(1, team=(0,))),
        ],
    }
    for read in readers[place]:
        with pytest.raises(RunError, match=rf"{name}: cannot be read as weights \({place}/.* is not finite\)"):
            read()


def test_a_trial_for_which_there_is_too_little_memory_is_told_so_that_another_group_may_have_it(run, tmp_path, monkeypatch):
    """A rank that lacks memory again and again waits before it begins the next one."""
    naps, told = [], []
    monkeypatch.setattr("hpcnas.runtime.trial_runner.time.sleep", naps.append)

    class Small(Trainer):
        def train(self, *arguments):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB\nmore")

    class Search(Script):
        def ask(self, message: Ready) -> Assignment | Stop:
            told.append((message.out_of_memory, message.result and message.result.error, len(naps)))
            return Assignment(trial(len(told))) if len(told) < 5 else Stop("the end")

    small = Small(CORPUS, SoloGroup(), TrainingConfig(epochs=4, batch_size=8), AugmentationConfig())
    TrialRunner(
        0, Alone(), Search(), small, AROUND, AugmentationConfig(), NoInheritance(), RunDir(tmp_path).search, Budget()
    ).work()
    said = "CUDA out of memory. Tried to allocate 20.00 MiB"
    assert told == [(False, None, 0), (True, said, 0), (True, said, 0), (True, said, 2), (True, said, 8)]
