"""Residual pairs of convolutions: over time (TC-ResNet) and over bands and time (ResNet, and Res8 to Res26 of speech)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Beside, Conv1d, Conv2d, State
from hpcnas.nn.normalisation import BatchNorm1d, BatchNorm2d

TCRES = BlockType(
    "tcres",
    layout="sequence",
    choices={"channels": widths(8, 64), "kernel": (9,), "stride": (1, 2)},
    description="two 1-D convolutions beside a shortcut: Choi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1363)",
)
RES2D = BlockType(
    "res2d",
    layout="plane",
    choices={"channels": widths(4, 24), "stride": (1, 2)},
    description="two 3 x 3 convolutions beside a shortcut: He et al., CVPR 2016 (doi:10.1109/CVPR.2016.90)",
)
PRERES2D = BlockType(
    "preres2d",
    layout="plane",
    choices={"channels": widths(4, 48), "dilation": (1, 2, 4), "growth": (1, 2)},
    description="input plus two 3 x 3 convolutions, batch norm in front and ReLU behind each, the second dilated `growth` "
    "times as far: Tang & Lin, ICASSP 2018 (doi:10.1109/ICASSP.2018.8462688)",
)


class ResidualPair(Beside):
    """relu(shortcut(x) + branch(x)); the shortcut is the identity where the shape stays."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = super().stream(x, state)
        return y.relu(), state

    def near_identity(self) -> None:
        """Exactly the identity where the shape stays and the input is not negative."""
        nn.init.zeros_(self.branch[-1].get_parameter("weight"))


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


def build_preres2d(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, dilation = in_shape[0], settings["channels"], settings["dilation"]
    layers = []
    for reach in (dilation, dilation * settings["growth"]):
        convolution = Conv2d(channels, channels, (3, 3), dilation=(reach, reach), causal=causal)
        layers += [BatchNorm2d(channels), convolution, nn.ReLU()]
    # No identity to begin with: behind a convolution of zeros the last ReLU would let no gradient through.
    block = Beside(nn.Sequential(*layers), nn.Identity())
    return block if before == channels else nn.Sequential(Conv2d(before, channels, (1, 1)), block)
