"""Trials and their results: what is journalled, archived and sent between ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from hpcnas.core.architecture import Architecture

ROLES = ("student", "control", "baseline", "anew")
"""Why a stage may have a trial that it does not choose from."""
WARM = "warm "
"""The mutation of a tower from another run begins with this; the model's stage and number in that run follow."""


@dataclass(frozen=True)
class Proposal:
    """What a strategy wants to be tried: an architecture and how it came about."""

    architecture: Architecture
    parent: int | None
    """Trial that was mutated; None for a first architecture."""
    mutation: str
    """``start``, ``grow``, ``swap 2`` (the block counted from 0), ``copy``, ``baseline`` and the like."""
    settings: tuple[tuple[str, float], ...] = ()
    """Training settings that differ from the run's, by name, sorted."""
    team: tuple[int, ...] = ()
    """Earlier trials that it forms an ensemble with: its score is that of the mean of all their logits."""
    given: bool = field(default=False, compare=False)
    """Whether it is trained as it is, even over a limit or a second time: it was given, and is not the strategy's own idea."""
    again: bool = field(default=False, compare=False)
    """Whether it is trained as it is, within the limits, although it was tried before."""
    fills: bool = field(default=False, compare=False)
    """Whether it is widened as far as the limits allow; only if towers are fitted to the limits."""
    donor: int | None = None
    """Which of the weights that the stage has from another run it starts from; None: none of them."""
    role: str = ""
    """One of ``ROLES``, or empty."""

    @property
    def is_suggestion(self) -> bool:
        """Whether it was given, and not found."""
        return self.is_warm or self.mutation.startswith(("suggestion", "zoo "))

    @property
    def is_warm(self) -> bool:
        """Whether another run found it."""
        return self.mutation.startswith(WARM)


@dataclass(frozen=True)
class Trial:
    """A proposal that was handed out. Its seed decides initialisation, shuffling and augmentation."""

    id: int
    proposal: Proposal
    seed: int
    attempt: int = 1

    @property
    def architecture(self) -> Architecture:
        return self.proposal.architecture


@dataclass(frozen=True)
class Donor:
    """A trial that another one inherits from."""

    trial: Trial
    weight: float = 1.0
    """How much its arrays count where several donors offer the same; not negative."""


@dataclass(frozen=True)
class Cost:
    """What an architecture costs: trainable parameters, and for one example multiply-accumulates and activations."""

    params: int
    macs: int
    activations: int
    """Elements of the outputs of all layers with weights; memory traffic, and so training time on a CPU, goes with them."""
    latency_ms: float = 0.0
    """Of one example on the device that trained it; 0: not measured."""
    flash_kb: float = 0.0
    """Of the int8 graph, in units of 1024 bytes; this and what follows is 0 where the space has no target."""
    arena_kb: float = 0.0
    """Working memory of the graph on the target, in the same units."""
    device_ms: float = 0.0
    """Of one inference on the space's microcontroller, by estimate."""


class TrialState(Enum):
    """How a trial ended."""

    COMPLETED = "completed"
    """Trained for all its epochs."""
    STOPPED = "stopped"
    """Ended early by the stopping rule; its score counts."""
    PAUSED = "paused"
    """Stopped for now; the stopping rule may let it go on from its weights. Its score counts."""
    INFEASIBLE = "infeasible"
    """No score, and nothing was trained: over a limit of the budget."""
    FAILED = "failed"
    """No score: it could not be built, something about it was not finite, or it broke its group too often."""

    @property
    def has_score(self) -> bool:
        return self not in (TrialState.FAILED, TrialState.INFEASIBLE)


NOT_FINITE = "its score is not finite"


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    ``score`` is the search metric on the validation split, higher is better; ``loss`` the cross entropy there in nats. A trial
    without a score has NaN for both, and its ``error`` says why. A trial whose score is not finite has failed, wherever the
    score comes from: it is not ranked, and no trial inherits from it.
    """

    trial: int
    state: TrialState
    score: float
    loss: float
    cost: Cost
    epochs: int
    steps: int
    """Optimiser steps."""
    inherited: int
    """Parameters that started from a donor's."""
    seconds: float
    group: int
    curve: tuple[float, ...] = ()
    """Score after each epoch."""
    error: str = ""
    merits: tuple[float, ...] = ()
    """What trials are ranked by after each epoch, higher is better, where that is not the score; see ``search.rank_by``."""

    def __post_init__(self) -> None:
        if self.state.has_score and not math.isfinite(self.score + self.loss + sum(self.curve) + sum(self.merits)):
            instead = {"state": TrialState.FAILED, "score": math.nan, "loss": math.nan, "error": NOT_FINITE}
            for name, value in instead.items():
                object.__setattr__(self, name, value)

    @property
    def ranked(self) -> tuple[float, ...]:
        """What it is ranked by after each epoch."""
        return self.merits or self.curve

    @property
    def merit(self) -> float:
        """What it is ranked by, higher is better."""
        return self.merits[-1] if self.merits else self.score


def unscored(trial: Trial, state: TrialState, cost: Cost, error: str) -> Result:
    """The result of a trial that was not trained."""
    return Result(trial.id, state, float("nan"), float("nan"), cost, 0, 0, 0, 0.0, 0, error=error)
