"""Time-delay layer: dilated 1-D convolution, after Peddinti et al., Interspeech 2015 (doi:10.21437/Interspeech.2015-647)."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv1d, Residual
from hpcnas.nn.normalisation import BatchNorm1d

TYPE = BlockType(
    "tdnn",
    layout="sequence",
    choices={"channels": widths(8, 96), "kernel": (3, 5, 9), "dilation": (1, 2, 4)},
    description="dilated 1-D convolution, batch norm, ReLU; residual where the channels stay",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    channels, kernel, dilation = settings["channels"], settings["kernel"], settings["dilation"]
    convolution = Conv1d(in_shape[0], channels, kernel, dilation=dilation, causal=causal)
    if channels == in_shape[0]:
        return Residual(nn.ReLU(), convolution, BatchNorm1d(channels))
    return nn.Sequential(convolution, BatchNorm1d(channels), nn.ReLU())
