"""Convolutions over bands and time, and over time alone."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv1d, Conv2d, Residual
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d

CONV = BlockType(
    "conv",
    layout="plane",
    choices={"channels": widths(4, 32), "kernel": (3, 5), "stride": (1, 2)},
    description="2-D convolution, batch norm, ReLU; stride in bands and time; residual where the shape stays",
)
CONV1D = BlockType(
    "conv1d",
    layout="sequence",
    choices={"channels": widths(8, 96), "kernel": (3, 5, 9), "stride": (1, 2)},
    description="1-D convolution over time, batch norm, ReLU; residual where the shape stays",
)


def build_conv(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    channels, kernel, stride = settings["channels"], settings["kernel"], settings["stride"]
    convolution = Conv2d(in_shape[0], channels, (kernel, kernel), (stride, stride), causal=causal)
    if stride == 1 and channels == in_shape[0]:
        return Residual(nn.ReLU(), convolution, BatchNorm2d(channels))
    return nn.Sequential(convolution, BatchNorm2d(channels), nn.ReLU())


def build_conv1d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    channels, kernel, stride = settings["channels"], settings["kernel"], settings["stride"]
    convolution = Conv1d(in_shape[0], channels, kernel, stride, causal=causal)
    if stride == 1 and channels == in_shape[0]:
        return Residual(nn.ReLU(), convolution, BatchNorm1d(channels))
    return nn.Sequential(convolution, BatchNorm1d(channels), nn.ReLU())
