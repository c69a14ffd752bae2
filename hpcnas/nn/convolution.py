"""Convolutions as torch has them, with channels innermost in memory where they run on a CPU.

torch's CPU kernels for convolutions and batch norm are faster that way in most shapes (``benchmarks/layout.py``); a depthwise
convolution with dilation, for which there is none, takes a quarter of the time as convolutions of its phases. What comes out
stays laid out so, which is how what follows wants it; values differ by rounding alone. Graphs that are exported see the plain
layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolution1d(nn.Conv1d):
    """``nn.Conv1d`` on (B, C, T)."""

    padding: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        if not on_cpu(x):
            return super().forward(x)
        return as_sequence(_convolved(as_plane(x), self.weight.unsqueeze(2), self.bias, self._settings()))

    def _settings(self) -> _Settings:
        return (1, *self.stride), (0, *self.padding), (1, *self.dilation), self.groups


class Convolution2d(nn.Conv2d):
    """``nn.Conv2d`` on (B, C, F, T)."""

    padding: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        if not on_cpu(x):
            return super().forward(x)
        return _convolved(innermost(x), self.weight, self.bias, (self.stride, self.padding, self.dilation, self.groups))


_Settings = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
"""Stride, padding and dilation, each over bands and frames; groups."""


def on_cpu(x: Tensor) -> bool:
    """Whether ``x`` is at work on a CPU, and not at being exported."""
    return x.device.type == "cpu" and not torch.jit.is_tracing() and not torch.compiler.is_compiling()


def innermost(x: Tensor) -> Tensor:
    """(B, C, F, T) with the values of all channels side by side in memory."""
    if x.shape[1] == 1:  # laid out both ways at once, of which torch would go on with the other
        return x.contiguous().as_strided(x.shape, (x[0].numel(), 1, x.shape[3], 1))
    return x.contiguous(memory_format=torch.channels_last)


def as_plane(x: Tensor) -> Tensor:
    """(B, C, T) as (B, C, 1, T), with the values of all channels side by side in memory."""
    return innermost(x.unsqueeze(2))


def as_sequence(x: Tensor) -> Tensor:
    """(B, C, 1, T) as (B, C, T); no copy."""
    return x.squeeze(2)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, settings: _Settings) -> Tensor:
    stride, padding, dilation, groups = settings
    if weight.shape[2:] == (1, 1) and groups == 1 and padding == (0, 0):
        return _pointwise(x[:, :, :: stride[0], :: stride[1]], weight, bias)
    if x.shape[1] == 1 and weight.requires_grad and not x.requires_grad and torch.is_grad_enabled():
        return _of_windows(x, weight, bias, settings)
    phases = dilation[1]
    in_phases = (
        groups > 1 and phases > 1 and weight.shape[2] == dilation[0] == 1 and stride == (1, 1) and not padding[1] % phases
    )
    if in_phases and x.shape[3] + 2 * padding[1] > (weight.shape[3] - 1) * phases:
        return _in_phases(x, weight, bias, padding[1] // phases, phases, groups)
    return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Of positions that were chosen before: oneDNN's own way with strides (torch 2.13) writes beyond the end of its memory."""
    if x.shape[2] == 1:
        return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
    return functional.conv2d(innermost(x), weight, bias)


def _in_phases(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, phases: int, groups: int) -> Tensor:
    """A dilated convolution over time of (B, C, F, T), whose frames of each phase are convolved without dilation.

    With channels innermost, frames in rows of ``phases`` are a view; down its columns lies what the kernel looks at.
    """
    batch, channels, bands, frames = x.shape
    rows = -(-frames // phases)
    columns = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 0, rows * phases - frames))
    columns = columns.reshape(batch * bands, rows, phases, channels).permute(0, 3, 1, 2)
    y = functional.conv2d(columns, weight.transpose(2, 3), bias, 1, (padding, 0), 1, groups)
    y = y.permute(0, 2, 3, 1).reshape(batch, bands, -1, y.shape[1])
    return y[:, :, : frames - (weight.shape[3] - 1 - 2 * padding) * phases].permute(0, 3, 1, 2)


def _of_windows(x: Tensor, weight: Tensor, bias: Tensor | None, settings: _Settings) -> Tensor:
    """A convolution of features, one channel without a gradient, as one matrix product over all windows."""
    (high, wide), (down, along), (apart, later) = weight.shape[2:], settings[0], settings[2]
    padded = functional.pad(x.squeeze(1), (settings[1][1], settings[1][1], settings[1][0], settings[1][0]))
    reach = ((high - 1) * apart + 1, (wide - 1) * later + 1)
    windows = padded.unfold(1, reach[0], down).unfold(2, reach[1], along)[..., ::apart, ::later]
    # Of a weight that is laid out as it is multiplied the gradient is a product ten times as fast.
    y = windows.reshape(-1, high * wide) @ weight.flatten(1).t().contiguous()
    y = y.view(*windows.shape[:3], -1).permute(0, 3, 1, 2)
    return y if bias is None else y + bias.view(-1, 1, 1)
