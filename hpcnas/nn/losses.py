"""What training minimises: the labels' cross entropy, alone, for a team, or beside what teachers say.

An objective is called with a batch's logits, its features, how many frames of them are real, and its targets; it gives the
loss. Shape letters: ``B`` batch, ``F`` bands, ``T`` frames, ``K`` classes. Targets are (B,) classes, or (B, K) shares of
classes where examples were mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.core.checks import at_least, between
from hpcnas.core.errors import ConfigError

Objective = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]


@dataclass(frozen=True)
class LabelLoss:
    """Cross entropy with the labels, in nats."""

    smoothing: float = 0.0

    def __call__(self, logits_BK: Tensor, features_BFT: Tensor, lengths_B: Tensor | None, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits_BK, targets, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class TeamLoss:
    """The same, of the mean of the trained model's logits and its finished team mates'."""

    mates: Sequence[nn.Module]
    smoothing: float = 0.0

    def __call__(self, logits_BK: Tensor, features_BFT: Tensor, lengths_B: Tensor | None, targets: Tensor) -> Tensor:
        logits = [logits_BK, *(predicted(mate, features_BFT, lengths_B) for mate in self.mates)]
        return functional.cross_entropy(torch.stack(logits).mean(0), targets, label_smoothing=self.smoothing)


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How a student learns from an ensemble."""

    student: str = ""
    """An architecture, or the number of a trial of the search; empty: the architecture of the ensemble's first member."""
    loss: str = "cross_entropy"
    """``cross_entropy`` with the teachers' probabilities at ``temperature`` (Hinton et al., 2015, arXiv:1503.02531),
    ``logits``: mean squared difference of logits (Ba & Caruana, NeurIPS 2014, arXiv:1312.6184), or ``softmax``: of
    probabilities."""
    temperature: float = 2.0
    """Logits are divided by it in ``cross_entropy``."""
    share: float = 0.5
    """Of the teachers in the loss; the rest is the labels'."""
    balanced: bool = True
    """Scale the teachers' loss, batch by batch, to the size of the labels', so that ``share`` means the same for every loss."""
    control: bool = True
    """Also train the student's architecture on labels alone, to compare."""
    epochs: int = 40

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConfigError(f'distillation.loss = "{self.loss}": unknown; known: {", ".join(LOSSES)}')
        if not self.temperature > 0:
            raise ConfigError(f"distillation.temperature = {self.temperature}: must be positive")
        between(0, 1, "distillation", share=self.share)
        at_least(1, "distillation", epochs=self.epochs)


@dataclass(frozen=True)
class Distillation:
    """The labels' loss and the difference to the teachers' logits on the same, varied examples (Beyer et al., CVPR 2022,
    arXiv:2106.05237).

    Args:
        teachers: with the weights of their logits, which sum to one.
    """

    teachers: Sequence[tuple[float, nn.Module]]
    config: DistillationConfig
    smoothing: float = 0.0

    def __call__(self, logits_BK: Tensor, features_BFT: Tensor, lengths_B: Tensor | None, targets: Tensor) -> Tensor:
        told = sum(weight * predicted(teacher, features_BFT, lengths_B) for weight, teacher in self.teachers)
        of_labels = functional.cross_entropy(logits_BK, targets, label_smoothing=self.smoothing)
        of_teachers = LOSSES[self.config.loss](logits_BK, told, self.config.temperature)
        if self.config.balanced:
            of_teachers = of_teachers * (of_labels.detach() / of_teachers.detach().clamp(min=1e-6))
        return self.config.share * of_teachers + (1 - self.config.share) * of_labels


def _soft_cross_entropy(logits: Tensor, told: Tensor, temperature: float) -> Tensor:
    """Relative entropy, times the squared temperature, so that gradients keep their size."""
    ours, theirs = (functional.log_softmax(x / temperature, -1) for x in (logits, told))
    return temperature**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


LOSSES = {
    "cross_entropy": _soft_cross_entropy,
    "logits": lambda logits, told, temperature: functional.mse_loss(logits, told),
    "softmax": lambda logits, told, temperature: functional.mse_loss(logits.softmax(-1), told.softmax(-1)),
}


def predicted(model: nn.Module, features_BFT: Tensor, lengths_B: Tensor | None) -> Tensor:
    """(B, K) logits of a finished model, without gradient."""
    with torch.no_grad():
        return model(features_BFT, lengths_B).float()
