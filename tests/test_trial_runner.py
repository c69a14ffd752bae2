"""What a group does with an assignment, in one process: the line to the coordinator is a script."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_training import CORPUS, OFF

from hpcnas.core.budget import Budget
from hpcnas.core.inheritance import NoInheritance, Parent
from hpcnas.core.messages import Ahead, Assignment, Progress, Verdict
from hpcnas.core.space import spell
from hpcnas.core.trial import Proposal, Result, Trial, TrialState
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.losses import TeamLoss
from hpcnas.nn.model import Surroundings
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer
from hpcnas.runtime.models import Library, labels_together, stored_logits
from hpcnas.runtime.trainer import TrialRunner
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
        return TrialRunner(**{**parts, **changes}).run(Assignment(given, paused=paused))

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


def test_a_block_that_cannot_follow_fails_the_trial_alone(run):
    result = run(replace(trial(0), seed=1), inheritance=Parent(), training={"learning_rate": 1e30, "clip": 0.0, "warmup": 0.0})
    assert result.state is TrialState.FAILED and "not finite" in result.error and np.isnan(result.score)
