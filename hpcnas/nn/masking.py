"""Batches of recordings of different lengths: what lies behind the end of one must not change what is said of it, nor what is
learnt from it.

Every layer that looks across time, or over a batch, has an attribute ``mask``, None where all frames are real; a model sets it
for the batch at hand. Strides shorten lengths as they shorten the frames. Shape letters: ``B`` batch, ``C`` channels, ``T``
frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hpcnas.nn.placing import moved


class Mask:
    """Which frames of a batch are real, before and behind each stride.

    Args:
        lengths: (B,) real frames of each example, at least 1; on the host, which divides batches by them.
        frames: T, which the lengths refer to.
    """

    def __init__(self, lengths: Tensor, frames: int) -> None:
        self._frames = frames
        self._lengths = {frames: lengths.clamp(1, frames)}
        self._real: dict[tuple[int, torch.device], Tensor] = {}

    def stride(self, frames: int, hop: int) -> None:
        """A layer takes one of ``hop`` frames, the first among them: an example that ends before the others then has as many
        frames as it would have alone."""
        if hop > 1:
            self._lengths[-(-frames // hop)] = (self.lengths(frames) + hop - 1) // hop

    def lengths(self, frames: int) -> Tensor:
        """(B,) real frames where strides have left so many in all; in proportion where no layer told of its stride."""
        if frames not in self._lengths:
            self._lengths[frames] = -(-self._lengths[self._frames] * frames // self._frames)
        return self._lengths[frames]

    def real(self, x: Tensor) -> Tensor:
        """(B, 1, ..., T) whether the frames of ``x`` are real."""
        frames = x.shape[-1]
        if (frames, x.device) not in self._real:
            lengths = moved(self.lengths(frames), x.device)
            self._real[frames, x.device] = torch.arange(frames, device=x.device) < lengths.unsqueeze(1)
        return self._real[frames, x.device].view(len(x), *[1] * (x.dim() - 2), frames)

    def zeroed(self, x: Tensor) -> Tensor:
        """``x`` with zeros behind each end."""
        return x * self.real(x)  # several times as fast as masked_fill and where


@contextmanager
def masking(model: nn.Module, mask: Mask) -> Iterator[None]:
    """Let the layers of ``model`` know the mask, within."""
    layers: list[Any] = [layer for layer in model.modules() if hasattr(layer, "mask")]
    for layer in layers:
        layer.mask = mask
    try:
        yield
    finally:
        for layer in layers:
            layer.mask = None
