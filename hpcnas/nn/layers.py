"""Layers over time that can be causal, and then be fed frame by frame.

Time is the last axis everywhere. A causal layer is padded on its past side alone, so that no output depends on a later
frame; ``stream(module, x, state)`` gives for the next frames what the whole sequence would give for them. Shape letters:
``B`` batch, ``C`` channels, ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.nn.convolution import Convolution1d, Convolution2d
from hpcnas.nn.masking import Mask

State = Any
"""What a layer keeps of the frames it has seen; None before the first. Its form is the layer's own business."""


def stream(module: nn.Module, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The module's output for the next frames ``x`` (..., T), T at least 0, and its new state; that of no frames is what a
    stream begins with, tensors of their final shapes among it.

    A module with memory has its own ``stream(x, state)``; a chain hands on to its parts; any other works on each frame by
    itself. Strides may leave an output of 0 frames.
    """
    if (own := getattr(module, "stream", None)) is not None:
        return own(x, state)
    if isinstance(module, nn.Sequential):
        return stream_chain(module, x, state)
    if x.shape[-1]:
        return module(x), None
    return module(x.new_zeros(*x.shape[:-1], 1))[..., :0], None


def stream_chain(chain: nn.Sequential, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The same for parts that hand on to each other."""
    after = []
    for part, part_state in zip(chain, state or [None] * len(chain)):
        x, part_state = stream(part, x, part_state)
        after.append(part_state)
    return x, after


class _Windowed(nn.Module):
    """A layer whose output frame j looks at ``window`` input frames around j * ``hop``; up to it, if causal."""

    fill = 0.0
    """What stands in for frames before the first."""

    def __init__(self, window: int, hop: int, causal: bool) -> None:
        super().__init__()
        self.window, self.hop, self.causal = window, hop, causal
        self.mask: Mask | None = None

    def valid(self, x: Tensor) -> Tensor:
        """The layer without padding in time."""
        raise NotImplementedError

    def real(self, x: Tensor) -> Tensor:
        """``x`` with zeros where it is padding; the mask is told of the stride."""
        if self.mask is None:
            return x
        self.mask.stride(x.shape[-1], self.hop)
        return x if self.window == 1 else self.mask.zeroed(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.real(x)
        behind = 0 if self.causal else (self.window - 1) // 2
        return self.valid(functional.pad(x, (self.window - 1 - behind, behind), value=self.fill))

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        past, phase = state or (x.new_full((*x.shape[:-1], self.window - 1), self.fill), 0)
        known = torch.cat([past, x], -1)
        fresh = known[..., -phase % self.hop :]
        if fresh.shape[-1] >= self.window:
            y = self.valid(fresh)
        else:
            y = self.valid(known.new_zeros(*known.shape[:-1], self.window))[..., :0]
        return y, (known[..., known.shape[-1] - self.window + 1 :], (phase + x.shape[-1]) % self.hop)


class Conv1d(_Windowed):
    """Convolution over time, (B, C, T) to (B, C', ceil(T / stride)), without bias."""

    def __init__(
        self, before: int, channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, causal: bool = False
    ) -> None:
        super().__init__((kernel - 1) * dilation + 1, stride, causal)
        # Odd windows are padded by the layer itself, without a padded copy of the input.
        self.pads = not causal and self.window % 2 == 1
        padding = self.window // 2 if self.pads else 0
        self.layer = Convolution1d(before, channels, kernel, stride, padding, dilation, groups, bias=False)

    def valid(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.real(x)) if self.pads else super().forward(x)


class Conv2d(_Windowed):
    """Convolution over bands and time, (B, C, F, T) to (B, C', ceil(F / s_f), ceil(T / s_t)), without bias.

    Args:
        kernel: a pair, for bands and time.
        stride: likewise.
        dilation: likewise.
        pad_bands: on both sides; else bands become fewer, (F - window) // s_f + 1.
    """

    def __init__(
        self,
        before: int,
        channels: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        causal: bool = False,
        pad_bands: bool = True,
    ) -> None:
        super().__init__((kernel[1] - 1) * dilation[1] + 1, stride[1], causal)
        # Even windows are padded by ``_Windowed``: torch pads both ends alike, and would give a frame too many.
        self.pads = not causal and self.window % 2 == 1
        padding = ((kernel[0] - 1) * dilation[0] // 2 if pad_bands else 0, self.window // 2 if self.pads else 0)
        self.layer = Convolution2d(before, channels, kernel, stride, padding, dilation, groups, bias=False)

    def valid(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.real(x)) if self.pads else super().forward(x)


class Pool(_Windowed):
    """Maximum or mean over ``size`` frames, or bands and frames of a plane, moved by as many; the last ones may be fewer.

    A causal window ends at its frame; a causal mean counts frames before the first as 0. Padding is in no maximum and no mean.
    """

    def __init__(self, kind: str, size: int | tuple[int, int], causal: bool) -> None:
        frames = size if isinstance(size, int) else size[1]
        super().__init__(frames, frames, causal)
        self.fill = float("-inf") if kind == "max" else 0.0
        pool = getattr(functional, f"{kind}_pool{1 if isinstance(size, int) else 2}d")
        # With its stride: ExecuTorch's partitioner takes it for told.
        self._pool = partial(pool, kernel_size=size, stride=size, ceil_mode=True)

    def valid(self, x: Tensor) -> Tensor:
        return self._pool(x[..., : x.shape[-1] // self.window * self.window])

    def forward(self, x: Tensor) -> Tensor:
        if self.causal:
            return super().forward(x)
        if self.mask is None:
            return self._pool(x)
        return self._over_real_frames(x, self.mask)

    def _over_real_frames(self, x: Tensor, mask: Mask) -> Tensor:
        real, x = mask.real(x), self.real(x)
        if self.fill:
            lowest = torch.finfo(x.dtype).min  # and not minus infinity, which times zero is no number
            return mask.zeroed(self._pool(torch.where(real, x, lowest)))
        shares = functional.avg_pool1d(real.flatten(1, -2).to(x.dtype), self.window, ceil_mode=True)
        shares = shares.clamp(min=1 / self.window).view(len(x), *[1] * (x.dim() - 2), -1)
        return self._pool(x) / shares


class Recurrent(nn.Module):
    """A torch recurrence on (B, C, T)."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x, None)[0]

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not x.shape[-1]:
            return x.new_zeros(len(x), self.layer.hidden_size, 0), self._start(x) if state is None else state
        y, state = self.layer(x.transpose(1, 2), state)
        return y.transpose(1, 2), state

    def _start(self, x: Tensor) -> State:
        zeros = x.new_zeros(1, len(x), self.layer.hidden_size)
        return (zeros, zeros) if isinstance(self.layer, nn.LSTM) else zeros


class Beside(nn.Module):
    """shortcut(x) + branch(x)."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.branch(x)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        of_shortcut, of_branch = state or (None, None)
        short, of_shortcut = stream(self.shortcut, x, of_shortcut)
        long, of_branch = stream(self.branch, x, of_branch)
        return short + long, (of_shortcut, of_branch)


class Residual(nn.Module):
    """x + branch(x), after He et al., CVPR 2016 (doi:10.1109/CVPR.2016.90), without activation behind the sum.

    ``branch`` must end in a normalisation with a learnt scale, and with its scale at zero the block is the identity.
    """

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = stream(self.branch, x, state)
        return x + y, state

    def near_identity(self) -> None:
        nn.init.zeros_(self.branch[-1].get_parameter("weight"))
