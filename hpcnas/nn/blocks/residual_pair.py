"""Residual pairs of convolutions: over time (TC-ResNet) and over bands and time (ResNet)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType
from hpcnas.nn.layers import Conv1d, Conv2d, State, stream
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d

TCRES = BlockType(
    "tcres",
    layout="sequence",
    choices={"channels": (16, 24, 32, 48, 64), "kernel": (9,), "stride": (1, 2)},
    description="two 1-D convolutions beside a shortcut: Choi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1363)",
)
RES2D = BlockType(
    "res2d",
    layout="plane",
    choices={"channels": (8, 16, 24), "stride": (1, 2)},
    description="two 3 x 3 convolutions beside a shortcut: He et al., CVPR 2016 (doi:10.1109/CVPR.2016.90)",
)


class ResidualPair(nn.Module):
    """relu(shortcut(x) + branch(x)); the shortcut is the identity where the shape stays."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.branch(x)).relu()

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        of_shortcut, of_branch = state or (None, None)
        short, of_shortcut = stream(self.shortcut, x, of_shortcut)
        long, of_branch = stream(self.branch, x, of_branch)
        return (short + long).relu(), (of_shortcut, of_branch)

    def near_identity(self) -> None:
        """Exactly the identity where the shape stays and the input is not negative."""
        nn.init.zeros_(self.branch[-1].weight)


def build_tcres(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, kernel, stride = in_shape[0], settings["channels"], settings["kernel"], settings["stride"]
    branch = nn.Sequential(
        Conv1d(before, channels, kernel, stride, causal=causal),
        BatchNorm1d(channels),
        nn.ReLU(),
        Conv1d(channels, channels, kernel, causal=causal),
        BatchNorm1d(channels),
    )
    if stride == 1 and channels == before:
        return ResidualPair(branch, nn.Identity())
    return ResidualPair(
        branch, nn.Sequential(Conv1d(before, channels, 1, stride, causal=causal), BatchNorm1d(channels), nn.ReLU())
    )


def build_res2d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, stride = in_shape[0], settings["channels"], settings["stride"]
    branch = nn.Sequential(
        Conv2d(before, channels, (3, 3), (stride, stride), causal=causal),
        BatchNorm2d(channels),
        nn.ReLU(),
        Conv2d(channels, channels, (3, 3), causal=causal),
        BatchNorm2d(channels),
    )
    if stride == 1 and channels == before:
        return ResidualPair(branch, nn.Identity())
    return ResidualPair(
        branch, nn.Sequential(Conv2d(before, channels, (1, 1), (stride, stride), causal=causal), BatchNorm2d(channels))
    )
