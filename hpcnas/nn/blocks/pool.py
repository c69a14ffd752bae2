"""Pooling over time, and over bands on a plane: a tower's way to look at longer stretches. And the identity."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType
from hpcnas.nn.layers import Pool

_SIZES = {"size": (2, 3)}
MAX_POOL = BlockType(
    "max_pool",
    layout="any",
    choices=_SIZES,
    description="maximum over `size` frames (and bands, on a plane), moved by as many",
)
AVG_POOL = BlockType("avg_pool", layout="any", choices=_SIZES, description="the same with the mean")
IDENTITY = BlockType("identity", layout="any", choices={}, description="nothing: a tower of one block less")


def build_max_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Pool("max", settings["size"], plane=len(in_shape) == 2, causal=causal)


def build_avg_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Pool("avg", settings["size"], plane=len(in_shape) == 2, causal=causal)


def build_identity(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return nn.Identity()
