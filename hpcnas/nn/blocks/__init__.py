"""The block table: every kind that a tower may be made of.

A block's module takes and gives (B, C, T) if its layout is ``sequence`` and (B, C, F, T) if it is ``plane``; time comes
last in both, so that the one turns into the other without copying. ``build(settings, in_shape, causal)`` gets ``(C,)`` or
``(C, F)``; with ``causal`` no output may depend on a later frame, and ``layers.stream`` must work. A module that can start as
the identity has a method ``near_identity()``.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from hpcnas.core.space import BlockType
from hpcnas.nn.blocks import attention, bcres, conv, dense, dsconv, mbconv, pool, recurrent, residual_pair, svdf, tdnn


class BlockPart(NamedTuple):
    type: BlockType
    build: Callable[[Mapping[str, int], tuple[int, ...], bool], nn.Module]


BLOCKS = {
    "attention": BlockPart(attention.ATTENTION, attention.build_attention),
    "avg_pool": BlockPart(pool.AVG_POOL, pool.build_avg_pool),
    "bcres": BlockPart(bcres.TYPE, bcres.build),
    "bigru": BlockPart(recurrent.BIGRU, recurrent.build_bigru),
    "bilstm": BlockPart(recurrent.BILSTM, recurrent.build_bilstm),
    "bottleneck": BlockPart(dense.BOTTLENECK, dense.build_bottleneck),
    "conformer": BlockPart(attention.CONFORMER, attention.build_conformer),
    "conv": BlockPart(conv.CONV, conv.build_conv),
    "conv1d": BlockPart(conv.CONV1D, conv.build_conv1d),
    "dense": BlockPart(dense.DENSE, dense.build_dense),
    "dsconv": BlockPart(dsconv.TYPE, dsconv.build),
    "gru": BlockPart(recurrent.GRU, recurrent.build_gru),
    "identity": BlockPart(pool.IDENTITY, pool.build_identity),
    "lowrank": BlockPart(dense.LOWRANK, dense.build_lowrank),
    "lstm": BlockPart(recurrent.LSTM, recurrent.build_lstm),
    "max_pool": BlockPart(pool.MAX_POOL, pool.build_max_pool),
    "mbconv": BlockPart(mbconv.MBCONV, mbconv.build_mbconv),
    "res2d": BlockPart(residual_pair.RES2D, residual_pair.build_res2d),
    "rnn": BlockPart(recurrent.RNN, recurrent.build_rnn),
    "svdf": BlockPart(svdf.TYPE, svdf.build),
    "tcres": BlockPart(residual_pair.TCRES, residual_pair.build_tcres),
    "tdnn": BlockPart(tdnn.TYPE, tdnn.build),
    "tenet": BlockPart(mbconv.TENET, mbconv.build_tenet),
}

BLOCK_TYPES = {kind: part.type for kind, part in BLOCKS.items()}
