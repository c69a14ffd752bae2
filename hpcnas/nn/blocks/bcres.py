"""Broadcasted residual block, after Kim et al., BC-ResNet, Interspeech 2021 (doi:10.21437/Interspeech.2021-383)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Conv1d, Conv2d, State, stream
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d

TYPE = BlockType(
    "bcres",
    layout="plane",
    choices={"channels": widths(6, 48), "dilation": (1, 2, 4), "stride": (1, 2)},
    description="a 2-D branch over bands plus a temporal branch on their mean, broadcast over them; stride in bands",
)

SUB_BANDS = 5
"""Groups of bands that are normalised each by itself, as in the paper, where their number divides the bands."""


class SubSpectralNorm(nn.Module):
    """Batch norm of (B, C, F, T) with own statistics for each group of bands (Chang et al., 2021, arXiv:2103.13620)."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.groups = next(groups for groups in range(SUB_BANDS, 0, -1) if bands % groups == 0)
        self.norm = BatchNorm2d(channels * self.groups)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bands, frames = x.shape
        grouped = x.reshape(batch, channels * self.groups, bands // self.groups, frames)
        return self.norm(grouped).view(x.shape)


class BroadcastedResidual(nn.Module):
    """relu(x + y + broadcast(temporal(mean over bands of y))), y = over_bands(x); without x where the shape changes."""

    def __init__(self, before: int, channels: int, bands: int, dilation: int, stride: int, causal: bool) -> None:
        super().__init__()
        self.keeps_shape = before == channels and stride == 1
        change = [] if before == channels else [Conv2d(before, channels, (1, 1)), BatchNorm2d(channels), nn.ReLU()]
        self.over_bands = nn.Sequential(
            *change,
            Conv2d(channels, channels, (3, 1), (stride, 1), groups=channels),
            SubSpectralNorm(channels, (bands - 1) // stride + 1),
        )
        self.temporal = nn.Sequential(
            Conv1d(channels, channels, 3, dilation=dilation, groups=channels, causal=causal),
            BatchNorm1d(channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (
            self.stream(x, None)[0]
            if self.temporal[0].causal
            else self._sum(x, y := self.over_bands(x), self.temporal(y.mean(2)))
        )

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = self.over_bands(x) if x.shape[-1] else self.over_bands(x.new_zeros(*x.shape[:-1], 1))[..., :0]
        over_time, state = stream(self.temporal, y.mean(2), state)
        return self._sum(x, y, over_time), state

    def _sum(self, x: Tensor, over_bands: Tensor, over_time: Tensor) -> Tensor:
        y = over_bands + over_time.unsqueeze(2)
        return (x + y if self.keeps_shape else y).relu()

    def near_identity(self) -> None:
        """Exactly the identity where the shape stays and the input is not negative."""
        nn.init.zeros_(self.over_bands[-1].norm.weight)
        nn.init.zeros_(self.temporal[-1].weight)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, bands = in_shape
    return BroadcastedResidual(before, settings["channels"], bands, settings["dilation"], settings["stride"], causal)
