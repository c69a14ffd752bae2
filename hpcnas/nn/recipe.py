"""How a model is trained: the settings, the optimisers and schedules that they name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn

from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one trial is trained."""

    epochs: int = 5
    epoch_examples: int = 0
    """After so many examples an epoch is over, and the next one goes on behind them; 0: after all. Where a pass over the corpus
    takes hours, scores and points to go on from then come more often."""
    batch_size: int = 32
    """Examples per rank and step; a group's batch is ``batch_size * group_size``."""
    epochs_per_100k: float = 0.0
    """Epochs more for every 100,000 parameters that a model has."""
    optimizer: str = "adamw"
    """``adamw``, ``adam``, or ``sgd`` with Nesterov momentum 0.9."""
    learning_rate: float = 1e-2
    """Peak of the schedule, for a group of one; see ``peak_rate`` for larger ones."""
    schedule: str = "cosine"
    """After the warm-up: ``cosine`` to zero, ``exponential`` to a hundredth, ``step``: a tenth in each third, ``constant``."""
    warmup: float = 0.1
    """Share of the steps with rising learning rate."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    dropout: float = 0.1
    averaging: float = 0.05
    """What is judged and kept is a moving average of the weights over the latest such share of all steps, so that early scores
    tell more of later ones; 0: the weights themselves."""
    clip: float = 5.0
    """Largest norm of a gradient; 0: any."""
    quantised: bool = False
    """Trained and judged as it will run in 8-bit integers: weights and activations are rounded, gradients pass. Trials too; for
    the final stage alone see ``ensemble.quantised``."""
    mixed_precision: bool = False
    """Forward pass in bfloat16; on a GPU, of NVIDIA's from Ampere on, or a processor with AVX512_BF16 or AMX_BF16."""
    tf32: bool = False
    """Products of matrices and convolutions in TF32, with ten bits of each number's fraction; on such a GPU only."""
    checkpoint_s: float = 600.0
    """Seconds after which the end of an epoch is a point to go on from, should the job die; asked to end, it leaves one anyway.
    0: only then."""

    def __post_init__(self) -> None:
        at_least(1, "training", epochs=self.epochs, batch_size=self.batch_size)
        at_least(
            0, "training", weight_decay=self.weight_decay, clip=self.clip,
            epochs_per_100k=self.epochs_per_100k, checkpoint_s=self.checkpoint_s, epoch_examples=self.epoch_examples,
        )  # fmt: skip
        if not self.learning_rate > 0:
            raise ConfigError(f"training.learning_rate = {self.learning_rate}: must be positive")
        for name in ("warmup", "averaging", "label_smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"training.{name} = {getattr(self, name)}: must be at least 0 and below 1")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ConfigError(f'training.{name} = "{getattr(self, name)}": unknown; known: {", ".join(known)}')

    def for_size(self, params: int) -> TrainingConfig:
        """The same with the epochs that a model of so many parameters gets."""
        return replace(self, epochs=self.epochs + round(self.epochs_per_100k * params / 100_000), epochs_per_100k=0.0)

    def peak_rate(self, group_size: int) -> float:
        """Learning rate at the top of the schedule for a group of that size, whose batch is as many times larger: times its
        square root for Adam (Malladi et al., NeurIPS 2022, arXiv:2205.10287), times the size for SGD (Goyal et al., 2017,
        arXiv:1706.02677)."""
        return self.learning_rate * (group_size if self.optimizer == "sgd" else math.sqrt(group_size))

    def rate(self, done: float, group_size: int) -> float:
        """Learning rate when the share ``done`` of the steps is behind."""
        if done < self.warmup:
            return self.peak_rate(group_size) * (done + 1e-3) / (self.warmup + 1e-3)
        return self.peak_rate(group_size) * SCHEDULES[self.schedule]((done - self.warmup) / (1 - self.warmup))

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return OPTIMIZERS[self.optimizer](parameters, self)


OPTIMIZERS = {
    "adamw": lambda parameters, c: torch.optim.AdamW(parameters, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
    "adam": lambda parameters, c: torch.optim.Adam(parameters, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
    "sgd": lambda parameters, c: torch.optim.SGD(
        parameters, lr=c.learning_rate, weight_decay=c.weight_decay, momentum=0.9, nesterov=True, fused=True
    ),
}
"""Fused: all arrays of a small model are updated in one call, in a quarter of the time."""

SCHEDULES = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "exponential": lambda done: 0.01**done,
    "step": lambda done: 0.1 ** min(2, math.floor(3 * done)),
    "constant": lambda done: 1.0,
}
"""Share of the peak rate, by the share of the steps behind the warm-up that are done."""
