"""Recurrent layers over time: RNN (Elman), GRU and LSTM forwards, GRU and LSTM both ways."""

from collections.abc import Mapping

from torch import Tensor, nn

from hpcnas.core.space import BlockType
from hpcnas.nn.layers import Recurrent

_UNITS = (32, 64, 128)

RNN = BlockType("rnn", layout="sequence", choices={"units": _UNITS}, description="Elman recurrence with tanh")
GRU = BlockType("gru", layout="sequence", choices={"units": _UNITS}, description="gated recurrent unit")
LSTM = BlockType("lstm", layout="sequence", choices={"units": _UNITS}, description="long short-term memory")
BIGRU = BlockType(
    "bigru", layout="sequence", choices={"units": (16, 32, 64)}, causal=False, description="GRU both ways, `units` each"
)
BILSTM = BlockType(
    "bilstm", layout="sequence", choices={"units": (16, 32, 64)}, causal=False, description="LSTM both ways, `units` each"
)


class BothWays(nn.Module):
    """A bidirectional torch recurrence on (B, C, T)."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.transpose(1, 2))[0].transpose(1, 2)


def build_rnn(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Recurrent(nn.RNN(in_shape[0], settings["units"], batch_first=True))


def build_gru(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Recurrent(nn.GRU(in_shape[0], settings["units"], batch_first=True))


def build_lstm(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return Recurrent(nn.LSTM(in_shape[0], settings["units"], batch_first=True))


def build_bigru(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return BothWays(nn.GRU(in_shape[0], settings["units"], batch_first=True, bidirectional=True))


def build_bilstm(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    return BothWays(nn.LSTM(in_shape[0], settings["units"], batch_first=True, bidirectional=True))
