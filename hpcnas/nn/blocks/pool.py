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
AVG_POOL2D = BlockType(
    "avg_pool2d",
    layout="plane",
    choices={"bands": (1, 2, 3), "frames": (1, 2, 4)},
    description="the mean over so many bands and frames, moved by as many",
)
IDENTITY = BlockType("identity", layout="any", choices={}, description="nothing: a tower of one block less")


def build_max_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Pool("max", _square(settings["size"], in_shape), causal)


def build_avg_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Pool("avg", _square(settings["size"], in_shape), causal)


def build_avg_pool2d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Pool("avg", (settings["bands"], settings["frames"]), causal)


def build_identity(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return nn.Identity()


def _square(size: int, in_shape: tuple[int, ...]) -> int | tuple[int, int]:
    return (size, size) if len(in_shape) == 2 else size
