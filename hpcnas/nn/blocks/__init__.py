"""The block table: every kind that a tower may be made of.

A block's module takes and gives (B, C, T) if its layout is ``sequence`` and (B, C, F, T) if it is ``plane``; time comes
last in both, so that the one turns into the other without copying. ``build(settings, in_shape)`` gets ``(C,)`` or
``(C, F)``. A module that can start as the identity has a method ``near_identity()``.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from hpcnas.core.space import BlockType
from hpcnas.nn.blocks import conv, dense, dsconv, pool, recurrent, svdf, tcres, tdnn


class BlockPart(NamedTuple):
    type: BlockType
    build: Callable[[Mapping[str, int], tuple[int, ...]], nn.Module]


BLOCKS = {
    "conv": BlockPart(conv.TYPE, conv.build),
    "dense": BlockPart(dense.TYPE, dense.build),
    "dsconv": BlockPart(dsconv.TYPE, dsconv.build),
    "gru": BlockPart(recurrent.GRU, recurrent.build_gru),
    "lstm": BlockPart(recurrent.LSTM, recurrent.build_lstm),
    "pool": BlockPart(pool.TYPE, pool.build),
    "rnn": BlockPart(recurrent.RNN, recurrent.build_rnn),
    "svdf": BlockPart(svdf.TYPE, svdf.build),
    "tcres": BlockPart(tcres.TYPE, tcres.build),
    "tdnn": BlockPart(tdnn.TYPE, tdnn.build),
}

BLOCK_TYPES = {kind: part.type for kind, part in BLOCKS.items()}
