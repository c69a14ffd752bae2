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
from hpcnas.nn.blocks import (
    attention,
    bands,
    bcres,
    conv,
    dense,
    dsconv,
    matchbox,
    mbconv,
    pool,
    rectangular,
    recurrent,
    residual_pair,
    svdf,
    tdnn,
    utterance,
)


class BlockPart(NamedTuple):
    type: BlockType
    build: Callable[[Mapping[str, int], tuple[int, ...], bool], nn.Module]


BLOCKS = {
    "attention": BlockPart(attention.ATTENTION, attention.build_attention),
    "attention_pool": BlockPart(utterance.ATTENTION_POOL, utterance.build_attention_pool),
    "avg_pool": BlockPart(pool.AVG_POOL, pool.build_avg_pool),
    "avg_pool2d": BlockPart(pool.AVG_POOL2D, pool.build_avg_pool2d),
    "band_fold": BlockPart(bands.FOLD, bands.build_fold),
    "band_mean": BlockPart(bands.MEAN, bands.build_mean),
    "bcres": BlockPart(bcres.TYPE, bcres.build),
    "bigru": BlockPart(recurrent.BIGRU, recurrent.build_bigru),
    "bilstm": BlockPart(recurrent.BILSTM, recurrent.build_bilstm),
    "bottleneck": BlockPart(dense.BOTTLENECK, dense.build_bottleneck),
    "conformer": BlockPart(attention.CONFORMER, attention.build_conformer),
    "conv": BlockPart(conv.CONV, conv.build_conv),
    "conv1d": BlockPart(conv.CONV1D, conv.build_conv1d),
    "conv2d": BlockPart(rectangular.CONV2D, rectangular.build_conv2d),
    "dense": BlockPart(dense.DENSE, dense.build_dense),
    "dsconv": BlockPart(dsconv.TYPE, dsconv.build),
    "dsconv2d": BlockPart(rectangular.DSCONV2D, rectangular.build_dsconv2d),
    "gru": BlockPart(recurrent.GRU, recurrent.build_gru),
    "identity": BlockPart(pool.IDENTITY, pool.build_identity),
    "lowrank": BlockPart(dense.LOWRANK, dense.build_lowrank),
    "lstm": BlockPart(recurrent.LSTM, recurrent.build_lstm),
    "matchbox": BlockPart(matchbox.TYPE, matchbox.build),
    "max_pool": BlockPart(pool.MAX_POOL, pool.build_max_pool),
    "mbconv": BlockPart(mbconv.MBCONV, mbconv.build_mbconv),
    "mbconv1d": BlockPart(mbconv.MBCONV1D, mbconv.build_mbconv1d),
    "preres2d": BlockPart(residual_pair.PRERES2D, residual_pair.build_preres2d),
    "res2d": BlockPart(residual_pair.RES2D, residual_pair.build_res2d),
    "rnn": BlockPart(recurrent.RNN, recurrent.build_rnn),
    "statistics_pool": BlockPart(utterance.STATISTICS_POOL, utterance.build_statistics_pool),
    "svdf": BlockPart(svdf.TYPE, svdf.build),
    "tcres": BlockPart(residual_pair.TCRES, residual_pair.build_tcres),
    "tdnn": BlockPart(tdnn.TYPE, tdnn.build),
    "tenet": BlockPart(mbconv.TENET, mbconv.build_tenet),
}

BLOCK_TYPES = {kind: part.type for kind, part in BLOCKS.items()}
