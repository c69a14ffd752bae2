"""What a group does with an assignment: build, inherit, train, score, store, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hpcnas.core import metrics
from hpcnas.core.errors import ArchitectureError, TrialError
from hpcnas.core.messages import Assignment, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.trial import Cost, Result, Trial, TrialState
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.cost import measure
from hpcnas.nn.model import Model, Surroundings, build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime.channel import GroupChannel, LeaderChannel, LocalChannel
from hpcnas.store import weights
from hpcnas.store.run_dir import Stage

_WAIT_S = 0.5
"""Between two questions of a group for which there is no work yet."""


@dataclass
class TrialRunner:
    """Runs trials on the ranks of one group; every method is called by all of them.

    Args:
        number: of the group.
        augmentation: at full strength; the trainer's may be weaker.
        line: to the coordinator; the leader's only.
        splits: whose predictions are stored with the weights; the first is the validation split.
    """

    number: int
    channel: GroupChannel
    line: LeaderChannel | LocalChannel | None
    trainer: Trainer
    around: Surroundings
    augmentation: AugmentationConfig
    inheritance: object
    stage: Stage
    splits: Sequence[str] = ("validation",)

    def work(self) -> None:
        """Ask for trials and run them until the coordinator says stop."""
        result = None
        while True:
            order = self._ask(Ready(self.number, result))
            if isinstance(order, Stop):
                return
            if isinstance(order, Wait):
                time.sleep(_WAIT_S)
                result = None
            else:
                result = self.run(order)

    def run(self, assignment: Assignment) -> Result | None:
        """The result of a trial; None if it was suspended. Its weights are on disk before it is returned."""
        start = time.monotonic()
        trial = assignment.trial
        cost, inherited, steps, curve = Cost(0, 0, 0), 0, 0, []
        before = assignment.paused
        try:
            trainer, around = self._tuned(trial)
            model = build_model(trial.architecture, around, trial.seed)
            cost = measure(model, self.trainer.corpus.bands, self.trainer.corpus.frames)
            if before:
                self._load(model, trial)
                inherited, curve = before.inherited, list(before.curve)
            else:
                inherited = self._inherit(model, assignment)
            state = TrialState.COMPLETED
            for steps in trainer.train(model, trial.seed, done=len(curve)):  # noqa: B007 steps is wanted behind
                logits = self.trainer.evaluate(model, self.trainer.corpus.validation)
                curve.append(metrics.accuracy(logits, self.trainer.corpus.validation.labels))
                if len(curve) == self.trainer.config.epochs:
                    break
                verdict = self._ask(Progress(trial.id, tuple(curve)))
                if verdict is Verdict.SUSPEND:
                    return None
                if verdict is not Verdict.CONTINUE:
                    state = TrialState.PAUSED if verdict is Verdict.PAUSE else TrialState.STOPPED
                    break
            loss = metrics.cross_entropy(logits, self.trainer.corpus.validation.labels)
            self._store(trial, model, logits)
            score, error = curve[-1], ""
        except (ArchitectureError, TrialError) as reason:
            state, score, loss, error = TrialState.FAILED, float("nan"), float("nan"), str(reason)
        seconds = time.monotonic() - start + (before.seconds if before else 0.0)
        return Result(
            trial.id, state, score, loss, cost, len(curve), steps, inherited, seconds, self.number, tuple(curve), error
        )

    def _tuned(self, trial: Trial) -> tuple[Trainer, Surroundings]:
        """The trainer and the surroundings with this trial's own settings."""
        settings = dict(trial.proposal.settings)
        strength = settings.pop("augmentation", None)
        config = replace(self.trainer.config, **settings)
        augmentation = self.trainer.augmentation if strength is None else self.augmentation.scaled(strength)
        return self.trainer.with_settings(config, augmentation), replace(self.around, dropout=config.dropout)

    def _ask(self, message: Ready | Progress) -> Assignment | Wait | Stop | Verdict:
        """The coordinator's answer to the leader's message, on every rank of the group."""
        return self.channel.tell(self.line.ask(message)) if self.channel.is_leader else self.channel.hear()

    def _load(self, model: Model, trial: Trial) -> None:
        """Give the model the arrays with which its own trial was paused. The optimiser starts anew."""
        if self.channel.is_leader:
            arrays = weights.load_arrays(self.stage.weights(trial.id))
            model.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
        self.trainer.group.share(model)

    def _inherit(self, model: Model, assignment: Assignment) -> int:
        """Give the model its donors' arrays; returns how many parameters started from them."""
        inherited = 0
        if self.channel.is_leader and assignment.donors:
            state = model.state_dict()
            shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
            donors = [(d, weights.load_arrays(self.stage.weights(d.trial.id))) for d in assignment.donors]
            merged = self.inheritance.merge(assignment.trial, shapes, donors)
            for name, array in merged.items():
                state[name].copy_(state[name].new_tensor(array))
            if self.inheritance.near_identity:
                for index in range(len(model.blocks)):
                    if not any(name.startswith(f"blocks.{index}.") for name in merged):
                        model.near_identity(index)
            trainable = {name for name, _ in model.named_parameters()}
            inherited = sum(array.size for name, array in merged.items() if name in trainable)
        self.trainer.group.share(model)
        return inherited

    def _store(self, trial: Trial, model: Model, validation_logits: np.ndarray) -> None:
        corpus = self.trainer.corpus
        logits = {"validation": validation_logits}
        for split in self.splits[1:]:
            logits[split] = self.trainer.evaluate(model, getattr(corpus, split))
        if self.channel.is_leader:
            arrays = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
            weights.save(self.stage.weights(trial.id), trial, arrays, logits)
