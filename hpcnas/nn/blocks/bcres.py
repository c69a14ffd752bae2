"""Broadcasted residual block, after Kim et al., BC-ResNet, Interspeech 2021 (doi:10.21437/Interspeech.2021-383)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.convolution import Convolution1d, innermost, on_cpu
from hpcnas.nn.layers import Conv1d, Conv2d, State, stream
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d, batch_norm

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
        if self.groups > 1 and on_cpu(x):
            if not self.training:
                return self._as_learnt(x)
            if self.norm.mask is None and batch * (bands // self.groups) * frames > 1:
                return self._group_by_group(x)
        grouped = x.reshape(batch, channels * self.groups, bands // self.groups, frames)
        return self.norm(grouped).view(x.shape)

    def _group_by_group(self, x: Tensor) -> Tensor:
        """In training, without another layout in memory."""
        norm = self.norm
        norm.num_batches_tracked.add_(1)
        weight, bias, mean, var = (
            self._of_groups(part) for part in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        y = []
        for part, *own in zip(x.chunk(self.groups, 2), mean, var, weight, bias):
            y.append(batch_norm(innermost(part), *own, True, norm.momentum, norm.eps))
            if y[-1].requires_grad:
                y[-1].register_hook(innermost)  # a slice of the whole gradient else, which torch is several times as slow with
        for running, now in ((norm.running_mean, mean), (norm.running_var, var)):
            running.copy_(now.t().flatten())
        return torch.cat(y, 2)

    def _as_learnt(self, x: Tensor) -> Tensor:
        """In evaluation, with one factor and one term for each channel of each band."""
        norm, bands = self.norm, x.shape[2] // self.groups
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        term = norm.bias - norm.running_mean * factor
        factor, term = (part.view(-1, self.groups, 1).repeat_interleave(bands, 1) for part in (factor, term))
        return x * factor + term

    def _of_groups(self, of_channels: Tensor) -> Tensor:
        """(groups, C) of (C * groups,)."""
        return of_channels.view(-1, self.groups).t().contiguous()


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
            Convolution1d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (
            self.stream(x, None)[0]
            if self.temporal[0].causal
            else self._sum(x, y := self.over_bands(x), self.temporal(mean_band(y)))
        )

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y = self.over_bands(x) if x.shape[-1] else self.over_bands(x.new_zeros(*x.shape[:-1], 1))[..., :0]
        over_time, state = stream(self.temporal, mean_band(y), state)
        return self._sum(x, y, over_time), state

    def _sum(self, x: Tensor, over_bands: Tensor, over_time: Tensor) -> Tensor:
        y = over_all_bands(over_bands, over_time)
        return (x + y if self.keeps_shape else y).relu()

    def near_identity(self) -> None:
        """Exactly the identity where the shape stays and the input is not negative."""
        nn.init.zeros_(self.over_bands[-1].get_parameter("norm.weight"))
        nn.init.zeros_(self.temporal[-1].get_parameter("weight"))


def mean_band(x: Tensor) -> Tensor:
    """(B, C, T) mean over bands of (B, C, F, T)."""
    if not on_cpu(x):
        return x.mean(2)
    # The gradient of a sum is a view, that of a mean a plane.
    return x.permute(0, 2, 3, 1).sum(1).transpose(1, 2) / x.shape[2]


def over_all_bands(x: Tensor, of_time: Tensor) -> Tensor:
    """``x`` (B, C, F, T) plus (B, C, T) on each of its bands."""
    if not on_cpu(x):
        return x + of_time.unsqueeze(2)
    return (x.permute(0, 2, 3, 1) + of_time.transpose(1, 2).unsqueeze(1)).permute(0, 3, 1, 2)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, bands = in_shape
    return BroadcastedResidual(before, settings["channels"], bands, settings["dilation"], settings["stride"], causal)
