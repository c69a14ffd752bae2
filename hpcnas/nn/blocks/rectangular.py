"""Convolutions over so many bands by so many frames, each with a stride of its own, as published towers have them."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv2d
from hpcnas.nn.normalisation import BatchNorm2d

CONV2D = BlockType(
    "conv2d",
    layout="plane",
    choices={
        "channels": widths(4, 64),
        "bands": (3, 5),
        "frames": (3, 5),
        "band_stride": (1, 2),
        "frame_stride": (1, 2),
        "dilation": (1,),
        "valid": (0,),
    },
    description="2-D convolution, batch norm, ReLU, never a residual; `valid`: bands are not padded",
)
DSCONV2D = BlockType(
    "dsconv2d",
    layout="plane",
    choices={
        "channels": widths(8, 96),
        "bands": (3, 5),
        "frames": (3, 5),
        "band_stride": (1, 2),
        "frame_stride": (1, 2),
    },
    description="depthwise then pointwise convolution, each with batch norm and ReLU: DS-CNN, Zhang et al., Hello Edge, 2017 "
    "(arXiv:1711.07128)",
)


def build_conv2d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    channels, dilation = settings["channels"], settings["dilation"]
    convolution = Conv2d(
        in_shape[0],
        channels,
        *_window(settings),
        dilation=(dilation, dilation),
        causal=causal,
        pad_bands=not settings["valid"],
    )
    return nn.Sequential(convolution, BatchNorm2d(channels), nn.ReLU())


def build_dsconv2d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels = in_shape[0], settings["channels"]
    return nn.Sequential(
        *(Conv2d(before, before, *_window(settings), groups=before, causal=causal), BatchNorm2d(before), nn.ReLU()),
        *(Conv2d(before, channels, (1, 1)), BatchNorm2d(channels), nn.ReLU()),
    )


def _window(settings: Mapping[str, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Kernel and stride."""
    return (settings["bands"], settings["frames"]), (settings["band_stride"], settings["frame_stride"])
