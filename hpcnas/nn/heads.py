"""From a sequence of any length to one vector: what stands between a tower and its classifier.

A head maps (B, C, T) to (B, ``multiple`` * C). In a stream its state holds sums, so that the vector is that of all frames so
far.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpcnas.nn.layers import State
from hpcnas.nn.masking import Mask

SMALL = 1e-5
"""Added to variances before the root."""


class Head(nn.Module):
    """What all have in common."""

    multiple = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask: Mask | None = None

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The vector of all frames so far, given the next ones, and the new state; None is that before the first."""
        raise NotImplementedError


class Mean(Head):
    """Mean over time."""

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            return x.mean(-1)
        real = self.mask.real(x)
        return (x * real).sum(-1) / real.sum(-1)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        total, seen = state or (0.0, 0)
        total, seen = total + x.sum(-1), seen + x.shape[-1]
        return total / seen, (total, seen)


class Statistics(Head):
    """Mean and standard deviation over time: Snyder et al., ICASSP 2018 (doi:10.1109/ICASSP.2018.8461375), x-vectors."""

    multiple = 2

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            return self.stream(x, None)[0]
        real = self.mask.real(x)
        seen = real.sum(-1)
        return _mean_and_deviation((x * real).sum(-1) / seen, (x.square() * real).sum(-1) / seen)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        total, squares, seen = state or (0.0, 0.0, 0)
        total, squares, seen = total + x.sum(-1), squares + x.square().sum(-1), seen + x.shape[-1]
        return _mean_and_deviation(total / seen, squares / seen), (total, squares, seen)


class Attentive(Head):
    """Mean and standard deviation, frames weighted by attention: Okabe et al., Interspeech 2018
    (doi:10.21437/Interspeech.2018-993)."""

    multiple = 2
    HIDDEN = 32

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.score = nn.Sequential(nn.Conv1d(channels, self.HIDDEN, 1), nn.Tanh(), nn.Conv1d(self.HIDDEN, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x, None)[0]

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not x.shape[-1]:
            total, squares, weight, _ = state
            return _mean_and_deviation(total / weight, squares / weight), state
        score = self.score(x)
        if self.mask is not None:
            score = score.masked_fill(~self.mask.real(x), float("-inf"))
        highest = score.amax(-1)
        total = squares = weight = 0.0
        if state:
            total, squares, weight, before = state
            highest = torch.maximum(highest, before)
            total, squares, weight = (sums * (before - highest).exp() for sums in (total, squares, weight))
        share = (score - highest.unsqueeze(-1)).exp()
        total, squares, weight = total + (share * x).sum(-1), squares + (share * x.square()).sum(-1), weight + share.sum(-1)
        return _mean_and_deviation(total / weight, squares / weight), (total, squares, weight, highest)


def _mean_and_deviation(mean: Tensor, square: Tensor) -> Tensor:
    return torch.cat([mean, ((square - mean.square()).clamp(min=0) + SMALL).sqrt()], -1)


HEADS: dict[str, type[Head]] = {
    "mean": Mean,
    "statistics": Statistics,
    "attentive": Attentive,
}
