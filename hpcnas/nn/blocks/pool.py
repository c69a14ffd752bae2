"""Max pooling over time, and over bands on a plane: a tower's way to look at longer stretches."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType

TYPE = BlockType(
    "pool",
    layout="any",
    choices={"size": (2, 3)},
    description="maximum over `size` frames (and bands, on a plane), moved by as many",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...]) -> nn.Module:
    pool = nn.MaxPool1d if len(in_shape) == 1 else nn.MaxPool2d
    return pool(settings["size"], ceil_mode=True)
