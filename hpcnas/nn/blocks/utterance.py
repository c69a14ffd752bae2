"""From a sequence of any length to one frame, behind which a tower may go on: pooling by statistics and by attention."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType
from hpcnas.nn.heads import Statistics
from hpcnas.nn.masking import Mask
from hpcnas.nn.placing import moved

STATISTICS_POOL = BlockType(
    "statistics_pool",
    layout="sequence",
    choices={},
    causal=False,
    description="mean and deviation over all frames, as one frame: x-vectors, Snyder et al., ICASSP 2018 "
    "(doi:10.1109/ICASSP.2018.8461375)",
)
ATTENTION_POOL = BlockType(
    "attention_pool",
    layout="sequence",
    choices={"heads": (1, 2, 4)},
    causal=False,
    description="means over all frames, each head's weighted by how they fit what it asks of the middle frame, as one frame: "
    "Rybakov et al., Interspeech 2020 (arXiv:2005.06720)",
)


class StatisticsPool(nn.Module):
    """(B, C, T) to (B, 2C, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.statistics = Statistics(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.statistics(x).unsqueeze(-1)


class AttentionPool(nn.Module):
    """(B, C, T) to (B, heads * C, 1)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mask: Mask | None = None
        self.query = nn.Conv1d(channels, heads * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, frames = x.shape
        if self.mask is None:
            middle = x[..., frames // 2].unsqueeze(-1)
        else:
            places = moved(self.mask.lengths(frames) // 2, x.device)
            middle = x.gather(-1, places.view(batch, 1, 1).expand(batch, channels, 1))
        scores = self.query(middle).view(batch, self.heads, channels) @ x
        if self.mask is not None:
            scores = scores.masked_fill(~self.mask.real(x), float("-inf"))
        return (scores.softmax(-1) @ x.transpose(1, 2)).reshape(batch, self.heads * channels, 1)

    def macs(self, frames: int) -> int:
        """Multiplications of queries by frames and of weights by frames, which no layer's weights show."""
        return 2 * frames * self.query.out_channels


def build_statistics_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return StatisticsPool(in_shape[0])


def build_attention_pool(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return AttentionPool(in_shape[0], settings["heads"])
