"""Dense layers applied to every frame: plain, of low rank, and as a bottleneck beside the identity."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv1d, Residual
from hpcnas.nn.normalisation import BatchNorm1d

DENSE = BlockType(
    "dense",
    layout="sequence",
    choices={"units": widths(8, 256)},
    description="dense layer on every frame, batch norm, ReLU; PROJ in the paper's Table 2",
)
LOWRANK = BlockType(
    "lowrank",
    layout="sequence",
    choices={"units": widths(16, 256), "rank": (4, 8, 16, 32, 64)},
    description="dense layer as a product of two of the given rank, batch norm, ReLU",
)
BOTTLENECK = BlockType(
    "bottleneck",
    layout="sequence",
    choices={"units": widths(4, 64)},
    description="input plus a dense layer down to `units`, ReLU, and up again",
)

# A convolution of kernel 1 is a dense layer on (B, C, T).


def build_dense(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    units = settings["units"]
    return nn.Sequential(Conv1d(in_shape[0], units, 1), BatchNorm1d(units), nn.ReLU())


def build_lowrank(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    units, rank = settings["units"], settings["rank"]
    return nn.Sequential(Conv1d(in_shape[0], rank, 1), Conv1d(rank, units, 1), BatchNorm1d(units), nn.ReLU())


def build_bottleneck(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    channels, units = in_shape[0], settings["units"]
    return Residual(
        Conv1d(channels, units, 1), BatchNorm1d(units), nn.ReLU(), Conv1d(units, channels, 1), BatchNorm1d(channels)
    )
