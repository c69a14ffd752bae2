"""What training needs of data parallelism. The groups of several ranks are in ``runtime/engines/``."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import nn


class GroupLost(Exception):
    """A mate of this rank is gone."""


class Group(Protocol):
    """Ranks that train one model together; every method is called by all of them, in the same order."""

    rank: int
    size: int

    def share(self, model: nn.Module) -> None:
        """Give every rank the leader's parameters and buffers."""

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        """An optimiser whose steps average the gradients over the group."""

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        """One step with the averaged gradients, their norm clipped to ``clip`` (0: not at all)."""

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Sum over the ranks, the same on all of them."""

    def beat(self) -> None:
        """A sign of life; called within long work between two of the others."""

    def close(self) -> None:
        """Leave it, when there is no more work."""


class SoloGroup:
    """A group of one, without an engine: for tests and for use as a library."""

    rank = 0
    size = 1

    def share(self, model: nn.Module) -> None:
        pass

    def wrap(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
        return optimizer

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip: float) -> None:
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    def sum(self, array: np.ndarray) -> np.ndarray:
        return array

    def beat(self) -> None:
        pass

    def close(self) -> None:
        pass
