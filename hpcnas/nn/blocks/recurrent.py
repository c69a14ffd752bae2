"""Recurrent layers over time: RNN (Elman), GRU and LSTM forwards, GRU and LSTM both ways."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import rnn

from hpcnas.core.space import BlockType, widths
from hpcnas.nn.layers import Recurrent
from hpcnas.nn.masking import Mask
from hpcnas.nn.placing import moved

_UNITS = widths(8, 128)
_UNITS_EACH_WAY = widths(8, 64)

RNN = BlockType("rnn", layout="sequence", choices={"units": _UNITS}, description="Elman recurrence with tanh")
GRU = BlockType("gru", layout="sequence", choices={"units": _UNITS}, description="gated recurrent unit")
LSTM = BlockType("lstm", layout="sequence", choices={"units": _UNITS}, description="long short-term memory")
BIGRU = BlockType(
    "bigru",
    layout="sequence",
    choices={"units": _UNITS_EACH_WAY},
    causal=False,
    description="GRU both ways, `units` each",
)
BILSTM = BlockType(
    "bilstm",
    layout="sequence",
    choices={"units": _UNITS_EACH_WAY},
    causal=False,
    description="LSTM both ways, `units` each",
)


class BothWays(nn.Module):
    """A bidirectional torch recurrence on (B, C, T)."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.mask: Mask | None = None

    def forward(self, x: Tensor) -> Tensor:
        sequences = x.transpose(1, 2)
        if self.mask is None:
            return self.layer(sequences)[0].transpose(1, 2)
        frames = x.shape[-1]  # backwards it begins at each end
        # The longest first, as torch wants them, which would wait for the device to put them so.
        lengths, order = self.mask.lengths(frames).sort(descending=True)
        there, back = moved(order, x.device), moved(order.argsort(), x.device)
        packed = rnn.pack_padded_sequence(sequences.index_select(0, there), lengths, batch_first=True)
        seen, _ = rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True, total_length=frames)
        return seen.index_select(0, back).transpose(1, 2)


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
