"""Temporal convolution residual block, after Choi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1363)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType

TYPE = BlockType(
    "tcres",
    layout="sequence",
    choices={"channels": (16, 24, 32, 48, 64), "kernel": (9,), "stride": (1, 2)},
    description="two 1-D convolutions beside a shortcut, as in TC-ResNet",
)


class TemporalResidual(nn.Module):
    """relu(shortcut(x) + branch(x)) on (B, C, T)."""

    def __init__(self, before: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv1d(before, channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels != before:
            self.shortcut = nn.Sequential(
                nn.Conv1d(before, channels, 1, stride, bias=False), nn.BatchNorm1d(channels), nn.ReLU()
            )

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.branch(x)).relu()

    def near_identity(self) -> None:
        """Exactly the identity where the shape stays and the input is not negative."""
        nn.init.zeros_(self.branch[-1].weight)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...]) -> nn.Module:
    return TemporalResidual(in_shape[0], settings["channels"], settings["kernel"], settings["stride"])
