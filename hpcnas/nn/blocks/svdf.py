"""SVDF, after Alvarez & Park, ICASSP 2019 (doi:10.1109/ICASSP.2019.8683557): rank-1 filters in features and in time."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv1d
from hpcnas.nn.normalisation import BatchNorm1d

TYPE = BlockType(
    "svdf",
    layout="sequence",
    choices={"filters": widths(16, 256), "memory": (4, 8, 16)},
    description="a dense filter on every frame, then one filter per channel over the last `memory` frames",
)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    filters, memory = settings["filters"], settings["memory"]
    return nn.Sequential(
        Conv1d(in_shape[0], filters, 1),
        Conv1d(filters, filters, memory, groups=filters, causal=True),
        # differs: the paper names no normalisation; without it deep towers of SVDF did not train in few epochs.
        BatchNorm1d(filters),
        nn.ReLU(),
    )
