"""Time-channel separable convolutions beside a pointwise shortcut, after Majumdar & Ginsburg, MatchboxNet, Interspeech 2020
(doi:10.21437/Interspeech.2020-1058)."""

from collections.abc import Mapping

from torch import nn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.blocks.residual_pair import ResidualPair
from hpcnas.nn.layers import Conv1d
from hpcnas.nn.normalisation import BatchNorm1d

TYPE = BlockType(
    "matchbox",
    layout="sequence",
    choices={"channels": widths(8, 128), "kernel": (13, 17), "repeat": (1, 2), "residual": (1, 0), "dilation": (1,)},
    description="`repeat` times depthwise convolution over time and pointwise one, beside a pointwise shortcut if `residual`",
)


class PointwiseShortcut(ResidualPair):
    """relu(shortcut(x) + branch(x)), whose shortcut is a pointwise convolution and its norm."""

    def near_identity(self) -> None:
        """Exactly the identity, where the number of channels stays, the input is not negative and statistics are not those of a
        batch."""
        pointwise = self.shortcut.get_parameter("0.layer.weight")
        if pointwise.shape[0] == pointwise.shape[1]:
            super().near_identity()
            nn.init.dirac_(pointwise)


def build(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    before, channels, kernel = in_shape[0], settings["channels"], settings["kernel"]
    branch: list[nn.Module] = []
    for place in range(settings["repeat"]):
        given = before if place == 0 else channels
        branch += [
            Conv1d(given, given, kernel, dilation=settings["dilation"], groups=given, causal=causal),
            Conv1d(given, channels, 1),
            BatchNorm1d(channels),
            nn.ReLU(),
        ]
    if not settings["residual"]:
        return nn.Sequential(*branch)
    return PointwiseShortcut(nn.Sequential(*branch[:-1]), nn.Sequential(Conv1d(before, channels, 1), BatchNorm1d(channels)))
