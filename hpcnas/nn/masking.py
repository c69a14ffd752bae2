"""Batches of recordings of different lengths: what lies behind the end of one must not change what is said of it.

Every layer that looks across time has an attribute ``mask``, None where all frames are real; a model sets it for the batch at
hand. Strides shorten lengths as they shorten the frames. Shape letters: ``B`` batch, ``C`` channels, ``T`` frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Mask:
    """Which frames of a batch are real.

    Args:
        lengths: (B,) real frames of each example, at least 1.
        frames: T, which the lengths refer to.
    """

    def __init__(self, lengths: Tensor, frames: int) -> None:
        self._lengths, self._frames = lengths, frames

    def lengths(self, frames: int) -> Tensor:
        """(B,) real frames where strides have left so many in all."""
        return (self._lengths * frames / self._frames).round().long().clamp(1, frames)

    def real(self, x: Tensor) -> Tensor:
        """(B, 1, ..., T) whether the frames of ``x`` are real."""
        frames = x.shape[-1]
        real = torch.arange(frames, device=x.device) < self.lengths(frames).to(x.device).unsqueeze(1)
        return real.view(len(x), *[1] * (x.dim() - 2), frames)

    def zeroed(self, x: Tensor) -> Tensor:
        """``x`` with zeros behind each end."""
        return x * self.real(x)


@contextmanager
def masking(model: nn.Module, mask: Mask) -> Iterator[None]:
    """Let the layers of ``model`` know the mask, within."""
    layers = [layer for layer in model.modules() if hasattr(layer, "mask")]
    for layer in layers:
        layer.mask = mask
    try:
        yield
    finally:
        for layer in layers:
            layer.mask = None
