"""Inverted residuals: MBConv with squeeze-and-excitation on planes; on sequences over one or over several temporal scales."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Beside, Conv1d, Conv2d, Residual, State, stream
from hpcnas.nn.masking import Mask
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d

MBCONV = BlockType(
    "mbconv",
    layout="plane",
    choices={"channels": widths(4, 32), "expand": (2, 3, 4), "kernel": (3, 5), "stride": (1, 2), "se": (0, 1)},
    description="expand, depthwise convolution, squeeze-and-excitation if `se`, project: Sandler et al., CVPR 2018 "
    "(doi:10.1109/CVPR.2018.00474); Hu et al., CVPR 2018 (doi:10.1109/CVPR.2018.00745)",
)
TENET = BlockType(
    "tenet",
    layout="sequence",
    choices={"channels": widths(8, 64), "expand": (2, 3, 4), "stride": (1, 2)},
    description="expand, depthwise convolutions over 3, 5, 7 and 9 frames summed, project: Li et al., Interspeech 2020; once "
    "trained, one convolution over 9",
)
MBCONV1D = BlockType(
    "mbconv1d",
    layout="sequence",
    choices={"channels": widths(8, 64), "expand": (2, 3, 4), "kernel": (5, 9), "stride": (1, 2)},
    description="expand, depthwise convolution over time, project, beside a shortcut: TENet without its training branches, Li "
    "et al., Interspeech 2020 (arXiv:2010.09960)",
)

REDUCTION = 4
"""Channels of the squeezed layer: one for so many."""


class SqueezeExcite(nn.Module):
    """Channels of (B, C, F, T) scaled by what a small network makes of their means; causal: of the means so far."""

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.causal = causal
        self.mask: Mask | None = None
        self.gate = nn.Sequential(nn.Conv1d(channels, squeezed, 1), nn.ReLU(), nn.Conv1d(squeezed, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        if self.causal:
            return self.stream(x, None)[0]
        means = x.mean(2)
        if self.mask is None:
            mean = means.mean(-1, keepdim=True)
        else:
            real = self.mask.real(means)
            mean = (means * real).sum(-1, keepdim=True) / real.sum(-1, keepdim=True)
        return x * self.gate(mean).unsqueeze(2)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        total, seen = state or (x.new_zeros(len(x), x.shape[1], 1), x.new_zeros(()))
        if not x.shape[-1]:
            return x, (total, seen)
        sums = total + x.mean(2).cumsum(-1)
        counts = seen + torch.arange(1, x.shape[-1] + 1, device=x.device)
        return x * self.gate(sums / counts).unsqueeze(2), (sums[..., -1:], seen + x.shape[-1])


def depthwise(channels: int, kernel: int, stride: int, causal: bool) -> nn.Sequential:
    """A convolution of each channel over time, normalised."""
    return nn.Sequential(Conv1d(channels, channels, kernel, stride, groups=channels, causal=causal), BatchNorm1d(channels))


class MultiScale(nn.Module):
    """Sum of depthwise convolutions over 3, 5, 7 and 9 frames, each normalised; once trained, the last alone."""

    def __init__(self, channels: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.scales = nn.ModuleList(depthwise(channels, kernel, stride, causal) for kernel in (3, 5, 7, 9))

    def forward(self, x: Tensor) -> Tensor:
        return sum(scale(x) for scale in self.scales)

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        """The longest convolution alone, with the weights that make it their sum; its normalisation only adds a bias."""
        scales: list[Any] = list(self.scales)
        one = copy.deepcopy(scales[-1])
        convolution, norm = one
        weight, bias = torch.zeros_like(convolution.layer.weight), torch.zeros_like(norm.bias)
        for shorter, own in scales:
            scale = own.weight / (own.running_var + own.eps).sqrt()
            behind = 0 if convolution.causal else (convolution.window - shorter.window) // 2
            ahead = convolution.window - shorter.window - behind
            weight += functional.pad(shorter.layer.weight * scale.view(-1, 1, 1), (ahead, behind))
            bias += own.bias - own.running_mean * scale
        convolution.layer.weight.copy_(weight)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(bias)
        return one

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outs, after = zip(*(stream(scale, x, s) for scale, s in zip(self.scales, state or [None] * len(self.scales))))
        return sum(outs), after


def build_mbconv(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, kernel, stride = in_shape[0], settings["channels"], settings["kernel"], settings["stride"]
    wide = before * settings["expand"]
    layers = [
        *(Conv2d(before, wide, (1, 1)), BatchNorm2d(wide), nn.ReLU()),
        Conv2d(wide, wide, (kernel, kernel), (stride, stride), groups=wide, causal=causal),
        *(BatchNorm2d(wide), nn.ReLU()),
        *([SqueezeExcite(wide, causal)] if settings["se"] else []),
        *(Conv2d(wide, channels, (1, 1)), BatchNorm2d(channels)),
    ]
    return Residual(*layers) if stride == 1 and channels == before else nn.Sequential(*layers)


def build_tenet(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, stride = in_shape[0], settings["channels"], settings["stride"]
    wide = channels * settings["expand"]
    layers = [
        *(Conv1d(before, wide, 1), BatchNorm1d(wide), nn.ReLU()),
        *(MultiScale(wide, stride, causal), nn.ReLU()),
        *(Conv1d(wide, channels, 1), BatchNorm1d(channels)),
    ]
    return Residual(*layers) if stride == 1 and channels == before else nn.Sequential(*layers, nn.ReLU())


def build_mbconv1d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, kernel, stride = in_shape[0], settings["channels"], settings["kernel"], settings["stride"]
    wide = channels * settings["expand"]
    layers = [
        *(Conv1d(before, wide, 1), BatchNorm1d(wide), nn.ReLU()),
        *depthwise(wide, kernel, stride, causal),
        nn.ReLU(),
        *(Conv1d(wide, channels, 1), BatchNorm1d(channels)),
    ]
    if stride == 1 and channels == before:
        return Residual(*layers)
    shortcut = nn.Sequential(Conv1d(before, channels, 1, stride, causal=causal), BatchNorm1d(channels))
    return Beside(nn.Sequential(*layers), shortcut)
