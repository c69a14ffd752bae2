"""A moving average of a model's weights, which is what is judged, stored and inherited.

At a high learning rate the weights jump about a good point (Izmailov et al., UAI 2018, arXiv:1803.05407), and what a model is
worth after an early epoch says little about what it will be worth in the end; what their average is worth says much more. It is
exponential, as in Tarvainen & Valpola, NeurIPS 2017 (arXiv:1703.01780).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_Tensors = tuple[Tensor, ...] | list[Tensor]


class Average:
    """Follows a model in training.

    Args:
        horizon: optimiser steps that the average reaches back over; at most 1: it is the model itself, at no cost.
    """

    def __init__(self, model: nn.Module, horizon: float) -> None:
        self._live = model
        self._decay = 1 - 1 / max(1.0, horizon)
        self._averaged = AveragedModel(model, multi_avg_fn=self._blend, use_buffers=True) if self._decay else None
        self._steps = 0

    @property
    def model(self) -> nn.Module:
        """With the averaged weights and statistics."""
        return self._live if self._averaged is None else self._averaged.module

    def follow(self) -> None:
        """Take in the model's weights after a step."""
        if self._averaged is not None:
            self._averaged.update_parameters(self._live)
            self._steps += 1

    def reset(self) -> None:
        """Begin anew, at the model's weights."""
        self.load_state({"model": self._live.state_dict(), "steps": 0})

    def state(self) -> dict[str, Any]:
        """For a checkpoint; empty where the average is the model itself."""
        return {} if self._averaged is None else {"model": self.model.state_dict(), "steps": self._steps}

    def load_state(self, state: dict[str, Any]) -> None:
        if self._averaged is not None:
            self.model.load_state_dict(state["model"])
            self._steps = state["steps"]
            self._averaged.n_averaged.fill_(self._steps)

    def _blend(self, averaged: _Tensors, live: _Tensors, _: Tensor | int) -> None:
        """Early on the average reaches back over a tenth of the steps, lest it keeps where it began."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        get_ema_multi_avg_fn(decay)(averaged, live, self._steps)
