"""From a plane to a sequence: all bands of a channel at once."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv2d, State, stream_chain
from hpcnas.nn.normalisation import BatchNorm2d

MEAN = BlockType(
    "band_mean",
    layout="plane",
    choices={},
    folds=True,
    description="mean over bands: a plane as a sequence of its channels, where towers else keep channels x bands",
)
FOLD = BlockType(
    "band_fold",
    layout="plane",
    choices={"channels": widths(8, 64), "kernel": (3, 5)},
    folds=True,
    description="depthwise convolution over all bands and `kernel` frames, then pointwise, batch norm, ReLU: the end of "
    "BC-ResNet, Kim et al., Interspeech 2021 (doi:10.21437/Interspeech.2021-383)",
)


class BandMean(nn.Module):
    """(B, C, F, T) to (B, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


class Flat(nn.Sequential):
    """A chain on planes that leaves one band, as a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(2)

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x, state = stream_chain(self, x, state)
        return x.squeeze(2), state


def build_mean(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return BandMean()


def build_fold(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    (before, bands), channels = in_shape, settings["channels"]
    return Flat(
        Conv2d(before, before, (bands, settings["kernel"]), groups=before, causal=causal, pad_bands=False),
        Conv2d(before, channels, (1, 1)),
        BatchNorm2d(channels),
        nn.ReLU(),
    )
