"""Depthwise-separable 2-D convolution, after Zhang et al., Hello Edge, 2017 (arXiv:1711.07128), DS-CNN."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv2d, Residual
from hpcnas.nn.normalisation import BatchNorm2d

TYPE = BlockType(
    "dsconv",
    layout="plane",
    choices={"channels": widths(8, 64), "kernel": (3, 5), "stride": (1, 2)},
    description="depthwise then pointwise convolution, each with batch norm; residual where the shape stays",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, kernel, stride = in_shape[0], settings["channels"], settings["kernel"], settings["stride"]
    layers = (
        Conv2d(before, before, (kernel, kernel), (stride, stride), groups=before, causal=causal),
        BatchNorm2d(before),
        nn.ReLU(),
        Conv2d(before, channels, (1, 1)),
        BatchNorm2d(channels),
    )
    if stride == 1 and channels == before:
        return Residual(*layers)
    return nn.Sequential(*layers, nn.ReLU())
