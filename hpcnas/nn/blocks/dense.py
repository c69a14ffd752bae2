"""Projection: one dense layer applied to every frame; PROJ in the paper's Table 2."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType

TYPE = BlockType(
    "dense",
    layout="sequence",
    choices={"units": (32, 64, 128, 256)},
    description="dense layer on every frame, batch norm, ReLU",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...]) -> nn.Module:
    units = settings["units"]
    # A convolution of kernel 1 is a dense layer on (B, C, T).
    return nn.Sequential(nn.Conv1d(in_shape[0], units, 1, bias=False), nn.BatchNorm1d(units), nn.ReLU())
