"""What a group does with an assignment: build, inherit, train, score, store, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.budget import Budget
from hpcnas.core.errors import ArchitectureError, TrialError
from hpcnas.core.inheritance import InheritanceRule
from hpcnas.core.messages import Ahead, Assignment, Progress, Ready, Stop, Verdict
from hpcnas.core.trial import Cost, Donor, Proposal, Result, Trial, TrialState, unscored
from hpcnas.core.tuning import OF_AUGMENTATION
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.averaging import Average
from hpcnas.nn.cost import CostTable, latency_ms, measure
from hpcnas.nn.folding import folded
from hpcnas.nn.losses import Objective
from hpcnas.nn.model import Model, Surroundings, build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime import checkpoint, faults, memory
from hpcnas.runtime.channel import GroupChannel, Line
from hpcnas.runtime.checkpoint import SoFar
from hpcnas.runtime.models import Library, labels_alone
from hpcnas.runtime.streams import LongAudio
from hpcnas.store import weights
from hpcnas.store.run_dir import Stage

_LONGEST_WAIT_S = 60
_ENDS = {
    Verdict.CONTINUE: TrialState.COMPLETED,
    Verdict.PAUSE: TrialState.PAUSED,
    Verdict.STOP: TrialState.STOPPED,
}
"""What a trial has become that was trained until the coordinator's last word, or until all epochs were done."""
LARGEST_LOGITS = 4 << 20
"""Bytes of validation logits that a weights file has room for where nobody is sure to ask for them again."""
V = TypeVar("V", np.ndarray, float)


@dataclass
class _Attempt:
    """What has come of an assignment until now, whatever comes next."""

    assignment: Assignment
    start: float
    """Seconds on the monotonic clock, as if it had been trained without a break."""
    cost: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    steps: int = 0
    """Optimiser steps."""
    so_far: SoFar = field(default_factory=SoFar)


@dataclass
class TrialRunner:
    """Runs trials on the ranks of one group; every method is called by all of them.

    Args:
        number: of the group.
        augmentation: at full strength; the trainer's may be weaker.
        line: to the coordinator; the leader's only.
        budget: its limit on latency is checked here.
        metric: the score of logits against labels, higher is better.
        merit: what trials are ranked by, likewise; None: the score.
        splits: whose predictions are stored with the weights; the first is the validation split.
        objective: what a trial's training minimises.
        ready: called with a trial's model before anything is inherited or trained.
        largest_logits: bytes of validation logits up to which they are stored with the weights.
        long_audio: without keywords that the score is of too, in place of ``metric``.
    """

    number: int
    channel: GroupChannel
    line: Line | None
    trainer: Trainer
    around: Surroundings
    augmentation: AugmentationConfig
    inheritance: InheritanceRule
    stage: Stage
    budget: Budget
    metric: Callable[[np.ndarray, np.ndarray], float] = metrics.accuracy
    splits: Sequence[str] = ("validation",)
    objective: Callable[[Trial, float, Stage, Library], Objective] = labels_alone
    merit: Callable[[np.ndarray, np.ndarray], float] | None = None
    ready: Callable[[Trial, Model], None] = lambda trial, model: None
    largest_logits: float = math.inf
    long_audio: LongAudio | None = None
    _lacked_memory: bool = False
    """Whether that is why the last trial failed."""

    def work(self) -> None:
        """Ask for trials and run them until the coordinator says stop."""
        result, in_vain = None, 0
        while True:
            order = self._ask(Ready(self.number, result, out_of_memory=in_vain > 0))
            if isinstance(order, Stop):
                return
            assert isinstance(order, Assignment), order
            self._wait_for_memory(in_vain)
            self._lacked_memory = False
            result = self.run(order)
            memory.give_back(of_gpu=self._lacked_memory)
            in_vain = in_vain + 1 if self._lacked_memory else 0

    def run(self, assignment: Assignment) -> Result | None:
        """The result of a trial; None if it was suspended. Its weights are on disk before it is returned."""
        attempt, trial = _Attempt(assignment, time.monotonic()), assignment.trial
        score = loss = math.nan
        error = ""
        try:
            trainer, around = self._tuned(trial)
            model = build_model(trial.architecture, around, trial.seed)
            attempt.cost = self._measure(trial.architecture, model)
            may_be_over = assignment.paused or trial.proposal.given
            if not may_be_over and (objection := self.budget.objection(attempt.cost)):
                self._forget_checkpoint(trial)
                return unscored(trial, TrialState.INFEASIBLE, attempt.cost, objection)
            trainer = trainer.with_settings(trainer.config.for_size(attempt.cost.params), trainer.augmentation)
            self.ready(trial, model)
            verdict, loss = self._train(attempt, trainer, model)
            if verdict is Verdict.SUSPEND:
                return None
            state, score = _ENDS[verdict], attempt.so_far.curve[-1]
        except (ArchitectureError, TrialError, MemoryError, RuntimeError, OSError) as reason:
            if not self._is_of_trial(reason):
                raise
            self._lacked_memory = faults.is_out_of_memory(reason)
            state, error = TrialState.FAILED, _first_line(reason)
        self._forget_checkpoint(trial)
        if error and assignment.paused:  # what it had reached still counts
            return replace(assignment.paused, state=TrialState.STOPPED, error=error)
        so_far = attempt.so_far
        return Result(
            trial=trial.id,
            state=state,
            score=score,
            loss=loss,
            cost=attempt.cost,
            epochs=len(so_far.curve),
            steps=attempt.steps,
            inherited=so_far.inherited,
            seconds=time.monotonic() - attempt.start,
            group=self.number,
            curve=so_far.curve,
            merits=so_far.merits,
            error=error,
        )

    def _train(self, attempt: _Attempt, trainer: Trainer, model: Model) -> tuple[Verdict, float]:
        """Inherit, train as long as the coordinator wants to see more, and store; its last word, and the validation loss."""
        trial, labels = attempt.assignment.trial, trainer.corpus.validation.labels
        optimizer = trainer.optimizer_for(model)
        average = trainer.average_of(model)
        attempt.so_far = self._starting_point(attempt.assignment, model, average, optimizer)
        attempt.start -= attempt.so_far.seconds
        saved = time.monotonic()
        mates = self._logits_of_mates(trial)
        library = Library(self.channel, self.around, trainer.device)
        objective = self.objective(trial, trainer.config.label_smoothing, self.stage, library)
        verdict = Verdict.CONTINUE
        epochs = trainer.train(model, optimizer, trial.seed, len(attempt.so_far.curve), objective, average)
        for steps in epochs:
            attempt.steps = steps
            epoch = len(attempt.so_far.curve) + 1
            is_last = epoch == trainer.config.epochs
            if is_last:
                self._announce_the_end()
            logits = self._logits(average.model, "validation", epoch)
            together = _finite("mean of the team's logits", (logits + mates.sum(0)) / (1 + len(mates)), epoch)
            apart = self.long_audio
            score = apart.score(trainer, average.model, together, labels) if apart else self.metric(together, labels)
            self._note(attempt, score, together, labels, epoch)
            if is_last:
                break
            answer = self._ask(Progress(trial.id, attempt.so_far.curve, attempt.so_far.merits))
            assert isinstance(answer, Verdict), answer
            verdict = answer
            is_due = 0 < trainer.config.checkpoint_s <= time.monotonic() - saved
            if self.channel.is_leader and (verdict is Verdict.SUSPEND or is_due):
                checkpoint.save(self.stage.checkpoint(trial.id), model, average, optimizer, attempt.so_far)
                saved = time.monotonic()
            if verdict is Verdict.SUSPEND:
                return verdict, math.nan
            if verdict is not Verdict.CONTINUE:
                self._announce_the_end()
                break
        loss = float(_finite("validation loss", metrics.cross_entropy(together, labels), epoch))
        self._store(trial, average.model, logits, epoch)
        return verdict, loss

    def _note(self, attempt: _Attempt, score: float, logits: np.ndarray, labels: np.ndarray, epoch: int) -> None:
        """What an epoch has come to."""
        so_far = attempt.so_far
        score = float(_finite("score", score, epoch))
        attempt.so_far = replace(
            so_far,
            curve=(*so_far.curve, score),
            merits=(*so_far.merits, float(_finite("merit", self.merit(logits, labels), epoch))) if self.merit else (),
            seconds=time.monotonic() - attempt.start,
        )

    def _is_of_trial(self, error: Exception) -> bool:
        """Whether the trial is to blame, and every rank of the group sees it alike."""
        is_alone = self.trainer.group.size == 1
        return isinstance(error, (ArchitectureError, TrialError)) or (is_alone and faults.is_out_of_memory(error))

    def _wait_for_memory(self, in_vain: int) -> None:
        """After ``in_vain`` trials in a row for which there was too little: somebody else has it, and may give it back. A rank
        that fails within a moment would begin all the trials that others could train."""
        for _ in range(min(_LONGEST_WAIT_S, 2**in_vain - 2)):
            time.sleep(1.0)
            self.trainer.group.beat()

    def _forget_checkpoint(self, trial: Trial) -> None:
        if self.channel.is_leader:
            self.stage.checkpoint(trial.id).unlink(missing_ok=True)

    def _tuned(self, trial: Trial) -> tuple[Trainer, Surroundings]:
        """The trainer and the surroundings with this trial's own settings."""
        settings: dict[str, Any] = dict(trial.proposal.settings)
        strength = settings.pop("augmentation", None)
        augmentation = self.trainer.augmentation if strength is None else self.augmentation.scaled(strength)
        augmentation = replace(augmentation, **{name: settings.pop(name) for name in OF_AUGMENTATION if name in settings})
        config = replace(self.trainer.config, **settings)
        return self.trainer.with_settings(config, augmentation), replace(self.around, dropout=config.dropout)

    def _ask(self, message: Ready | Progress) -> Assignment | Stop | Verdict:
        """The coordinator's answer to the leader's message, on every rank of the group."""
        return self.channel.tell(self.line.ask(message)) if self.line is not None else self.channel.hear()

    def _announce_the_end(self) -> None:
        """So that the next trial is chosen while this one is validated and stored."""
        if self.line is not None:
            self.line.announce(Ahead(self.number))

    @cached_property
    def _costs(self) -> CostTable:
        return CostTable(self.around, self.trainer.corpus.window)

    def _measure(self, architecture: Architecture, model: Model) -> Cost:
        """What the model costs; its latency, which differs from one measurement to the next, by the leader's."""
        bands, frames, device = self.trainer.corpus.bands, self.trainer.corpus.window, self.trainer.device
        cost = self._costs.measure(architecture) if self.around.target else measure(model, bands, frames)
        if not self.budget.max_latency_ms:
            return cost
        own = latency_ms(folded(model).to(device), bands, frames, device) if self.channel.is_leader else 0.0
        return replace(cost, latency_ms=float(self.trainer.group.sum(np.array([own]))[0]))

    def _starting_point(
        self, assignment: Assignment, model: Model, average: Average, optimizer: torch.optim.Optimizer
    ) -> SoFar:
        """Give the model what the trial has learnt already, or else what it inherits.

        A trial that was cut off goes on with its optimiser's state; one that was paused begins with a fresh one, which loses
        nothing (benchmarks/promotions.py) and saves a file of twice the size of its weights.
        """
        trial, before = assignment.trial, assignment.paused
        so_far = checkpoint.restore(self.stage.checkpoint(trial.id), model, average, optimizer, self.channel)
        if so_far is not None:
            return so_far
        if before:
            self._load(model, trial)
            so_far = SoFar(before.inherited, before.curve, before.merits, before.seconds)
        else:
            so_far = SoFar(self._inherit(model, assignment))
        average.reset()
        return so_far

    def _load(self, model: Model, trial: Trial) -> None:
        """Give the model the arrays that its own trial left."""
        if self.channel.is_leader:
            arrays = weights.load_arrays(self.stage.weights(trial.id))
            model.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
        self.trainer.group.share(model)

    def _inherit(self, model: Model, assignment: Assignment) -> int:
        """Give the model its donors' arrays; returns how many parameters started from them."""
        inherited = 0
        if self.channel.is_leader and (donors := self._donors(assignment)):
            shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
            merged = self.inheritance.merge(assignment.trial, shapes, donors)
            inherited = model.inherit(merged, self.inheritance.near_identity)
        self.trainer.group.share(model)
        return inherited

    def _donors(self, assignment: Assignment) -> list[tuple[Donor, dict[str, np.ndarray]]]:
        """Whom the trial inherits from, with their arrays: earlier trials, or a model of another run."""
        donors = [(d, weights.load_arrays(self.stage.weights(d.trial.id))) for d in assignment.donors]
        if (number := assignment.trial.proposal.donor) is not None:
            path = self.stage.donor(number)
            origin = Proposal(weights.load_architecture(path), None, assignment.trial.proposal.mutation)
            donors.append((Donor(Trial(number, origin, seed=0)), weights.load_arrays(path)))
        return donors

    def _logits_of_mates(self, trial: Trial) -> np.ndarray:
        """(M, N, K) validation logits of the trial's team."""
        if not self.channel.is_leader:
            return self.channel.hear()
        validation = self.trainer.corpus.validation
        logits = [weights.load_logits(self.stage.weights(mate), "validation") for mate in trial.proposal.team]
        none = np.zeros((0, len(validation.labels), len(self.trainer.corpus.class_names)), np.float32)
        return self.channel.tell(np.stack(logits) if logits else none)

    def _logits(self, model: nn.Module, split: str, epoch: int) -> np.ndarray:
        """(N, K) logits of a split, whose model may be stored.

        Raises TrialError, on all ranks alike, if they are not finite or the weights, which need not show in them: whoever
        inherited such ones would fail too.
        """
        quantised = self.trainer.config.quantised
        logits = self.trainer.evaluate(model, getattr(self.trainer.corpus, split), quantised=quantised)
        state = model.state_dict()  # the leader's: it was shared to evaluate
        if not torch.stack([tensor.isfinite().all() for tensor in state.values()]).all():
            name = next(name for name, tensor in state.items() if not tensor.isfinite().all())
            raise TrialError(f"weights not finite in epoch {epoch}: {name}")
        return _finite(f"{split} logits", logits, epoch)

    def _store(self, trial: Trial, model: nn.Module, validation_logits: np.ndarray, epoch: int) -> None:
        logits = {"validation": validation_logits} if validation_logits.nbytes <= self.largest_logits else {}
        for split in self.splits[1:]:
            logits[split] = self._logits(model, split, epoch)
        if self.channel.is_leader:
            arrays = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
            weights.save(self.stage.weights(trial.id), trial, arrays, logits)


def _finite(what: str, values: V, epoch: int) -> V:
    """``values``; raises TrialError if they are not finite."""
    if not np.isfinite(values).all():
        raise TrialError(f"{what} not finite in epoch {epoch}")
    return values


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
