"""2-D convolution over bands and time."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType
from hpcnas.nn.blocks.residual import Residual

TYPE = BlockType(
    "conv",
    layout="plane",
    choices={"channels": (8, 16, 24, 32), "kernel": (3, 5), "stride": (1, 2)},
    description="2-D convolution, batch norm, ReLU; stride in bands and time; residual where the shape stays",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...]) -> nn.Module:
    channels, kernel, stride = settings["channels"], settings["kernel"], settings["stride"]
    convolution = nn.Conv2d(in_shape[0], channels, kernel, stride, padding=kernel // 2, bias=False)
    if stride == 1 and channels == in_shape[0]:
        return Residual(nn.ReLU(), convolution, nn.BatchNorm2d(channels))
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())
