"""How published towers are spelled in our blocks. Layer tables are from the papers and from their authors' implementations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def tc_resnet(*channels: int) -> str:
    """A first convolution over 3 frames, then a pair over 9 for each further width; time is halved where the width changes."""
    pairs = [f"tcres:channels={after},kernel=9,stride={1 if before == after else 2}" for before, after in pairwise(channels)]
    return "/".join([f"tdnn:channels={channels[0]},dilation=1,kernel=3", *pairs])


def ds_cnn(channels: int, blocks: int, first_stride: int) -> str:
    """Bands are halved once: by the first convolution, or by the first separable one, then time with them."""
    conv = f"conv2d:channels={channels},bands=4,frames=10,band_stride={first_stride},frame_stride=2"
    stride = 3 - first_stride
    first = f"dsconv2d:channels={channels},bands=3,frames=3,band_stride={stride},frame_stride={stride}"
    rest = f"dsconv2d*{blocks - 1}:channels={channels},bands=3,frames=3,band_stride=1,frame_stride=1"
    return f"{conv}/{first}/{rest}/band_mean"


def bc_resnet(width: float, frame_stride: int = 1) -> str:
    """Stages of 2, 2, 4 and 4 blocks that are dilated by 1, 2, 4 and 8 frames; with a stride in time by half as many."""
    blocks = [f"conv2d:channels={int(16 * width)},bands=5,frames=5,band_stride=2,frame_stride={frame_stride}"]
    for channels, count, stride, dilation in ((8, 2, 1, 1), (12, 2, 2, 2), (16, 4, 2, 4), (20, 4, 1, 8)):
        settings = f"channels={int(channels * width)},dilation={max(1, dilation // frame_stride)},stride={stride}"
        blocks.append(f"bcres*{count}:{settings}")
    return "/".join([*blocks, f"band_fold:channels={int(32 * width)},kernel=5"])


def matchbox(kernels: Iterable[int], repeat: int) -> str:
    """A separable convolution, residual blocks with kernels that grow, a dilated separable convolution, a pointwise one."""
    blocks = [f"matchbox:channels=64,dilation=1,kernel={kernel},repeat={repeat},residual=1" for kernel in kernels]
    first, last = "channels=128,dilation=1,kernel=11", "channels=128,dilation=2,kernel=29"
    return "/".join(
        [f"matchbox:{first},repeat=1,residual=0", *blocks, f"matchbox:{last},repeat=1,residual=0", "dense:units=128"]
    )


def tenet(channels: int, count: int) -> str:
    """Three stages of so many blocks, each halving time."""
    stage = f"mbconv1d*{count}:channels={channels},expand=3,kernel=9,stride=2"
    return "/".join([f"tdnn:channels={channels},dilation=1,kernel=3", stage, stage, stage])


def res8(channels: int) -> str:
    """Pooled over 4 frames by 3 bands, then three pairs."""
    first = f"conv2d:channels={channels},bands=3,frames=3,band_stride=1,frame_stride=1"
    return f"{first}/avg_pool2d:bands=3,frames=4/preres2d*3:channels={channels},dilation=1,growth=1/band_mean"


def res15(channels: int) -> str:
    """Thirteen convolutions dilated by 1, 1, 1, 2, 2, 2 and so on: six pairs and one."""
    conv = f"conv2d:channels={channels},bands=3,frames=3,band_stride=1,frame_stride=1"
    pairs = [
        f"preres2d:channels={channels},dilation={dilation},growth={growth}"
        for dilation, growth in ((1, 1), (1, 2), (2, 1), (4, 1), (4, 2), (8, 1))
    ]
    return "/".join([conv, *pairs, f"{conv},dilation=16", "band_mean"])


def sparknet(channels: int) -> str:
    """Separable convolutions with kernels that grow."""
    first = f"matchbox:channels={channels},dilation=1,kernel=11,repeat=1,residual=0"
    rest = [f"matchbox:channels={channels},dilation=1,kernel={kernel},repeat=1,residual=1" for kernel in (15, 19, 29)]
    return "/".join([first, *rest, "dense:units=32"])


def attention_rnn(recurrence: str, units: int, heads: int) -> str:
    """Convolutions over time that keep one plane, two recurrences both ways, pooling by attention, two dense layers."""
    conv = "bands=1,frames=5,band_stride=1,frame_stride=1"
    return (
        f"conv2d:channels=10,{conv}/conv2d:channels=1,{conv}/{recurrence}*2:units={units}"
        f"/attention_pool:heads={heads}/dense:units=64/dense:units=32"
    )


SVDF_E2E = (
    "svdf:filters=576,memory=8/dense:units=64/svdf:filters=576,memory=8/dense:units=64/svdf:filters=576,memory=8/dense:units=64"
    "/svdf:filters=576,memory=8/dense:units=64/svdf*3:filters=32,memory=32"
)
SVDF_6 = (
    "svdf:filters=256,memory=4/dense:units=128/svdf:filters=256,memory=10/dense:units=128/svdf:filters=256,memory=10/dense:units=128"
    "/svdf:filters=256,memory=10/dense:units=128/svdf:filters=256,memory=10/dense:units=128/svdf:filters=256,memory=10"
)
CRNN = (
    "conv2d:channels=16,bands=3,frames=3,band_stride=1,frame_stride=1,valid=1"
    "/conv2d:channels=16,bands=3,frames=5,band_stride=1,frame_stride=1,valid=1/gru:units=256/dense:units=128/dense:units=256"
)
LSTM_LID = "lstm:units=256/lstm:units=512/lstm:units=256"
X_VECTOR = (
    "tdnn:channels=512,dilation=1,kernel=5/tdnn:channels=512,dilation=2,kernel=3/tdnn:channels=512,dilation=3,kernel=3"
    "/dense:units=512/dense:units=1500/statistics_pool/dense*2:units=512"
)
