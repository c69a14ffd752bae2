"""Self-attention over a window of frames, alone and inside a conformer block.

Positions are rotary (Su et al., 2021, arXiv:2104.09864): only distances matter. A frame sees `context` frames to each side;
in a causal model those before it alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.core.space import BlockType
from hpcnas.nn.layers import Conv1d, State, stream
from hpcnas.nn.masking import Mask
from hpcnas.nn.normalisation import BatchNorm1d

ATTENTION = BlockType(
    "attention",
    layout="sequence",
    choices={"dim": (16, 20, 24, 28, 32, 40, 48, 64), "heads": (2, 4), "context": (16, 32, 64)},
    description="input plus multi-head self-attention: Vaswani et al., NeurIPS 2017 (arXiv:1706.03762), normalised before",
)
CONFORMER = BlockType(
    "conformer",
    layout="sequence",
    choices={"dim": (16, 20, 24, 28, 32, 40, 48, 64), "heads": (2, 4), "context": (16, 32, 64), "kernel": (7, 15)},
    description="half a feed-forward, self-attention, convolution, half a feed-forward: Gulati et al., Interspeech 2020 "
    "(doi:10.21437/Interspeech.2020-3015)",
)


class LayerNorm(nn.LayerNorm):
    """Over the channels of (B, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class SelfAttention(nn.Module):
    """x + out(attention(norm(x))) on (B, C, T)."""

    def __init__(self, dim: int, heads: int, context: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.context, self.causal = heads, context, causal
        self.mask: Mask | None = None
        self.norm = LayerNorm(dim)
        self.query_key_value = nn.Conv1d(dim, 3 * dim, 1)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x, None)[0]

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The state: keys and values of up to ``context`` frames before, and how many of them were really there.

        Keys are kept as they are before rotation, and positions counted from the first new frame: only distances matter, and
        a position that grew for hours would lose its last digits.
        """
        batch, dim, frames = x.shape
        if not frames:
            none = x.new_zeros(batch, self.heads, self.context, dim // self.heads)
            return x, state or (none, none, x.new_zeros(()))
        parts = self.query_key_value(self.norm(x)).view(batch, 3, self.heads, dim // self.heads, frames)
        query, key, value = parts.transpose(-1, -2).unbind(1)
        past, seen = 0, x.new_zeros(())
        if state is not None:
            past_key, past_value, seen = state
            past = past_key.shape[2]
            key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
        after = (key[:, :, -self.context :], value[:, :, -self.context :], (seen + frames).clamp(max=self.context))
        now, then = (torch.arange(first, frames, device=x.device) for first in (0, -past))
        distance = now.unsqueeze(1) - then
        visible = (distance <= self.context) & (distance >= (0 if self.causal else -self.context))
        if state is not None:
            visible = visible & (then >= -seen)
        if self.mask is not None:
            # A padded frame may look at itself, since it must look at something.
            visible = visible & (self.mask.real(x).unsqueeze(1) | (distance == 0))
        mixed = functional.scaled_dot_product_attention(rotate(query, now), rotate(key, then), value, attn_mask=visible)
        y = x + self.out(mixed.transpose(-1, -2).reshape(batch, dim, frames))
        return y, after

    def near_identity(self) -> None:
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.get_parameter("bias"))

    def macs(self, frames: int) -> int:
        """Multiplications of queries by keys and of weights by values, which no layer's weights show."""
        reach = min(frames, self.context + 1 if self.causal else 2 * self.context + 1)
        return 2 * frames * reach * self.out.in_channels


def rotate(x: Tensor, position: Tensor) -> Tensor:
    """(B, H, T, D) with pairs of components turned by angles that grow with the position."""
    half = x.shape[-1] // 2
    # In float32 whatever x is: bfloat16 cannot tell positions above 256 apart.
    speed = 10000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = position.float().unsqueeze(1) * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half : 2 * half]
    turned = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    return torch.cat([turned, x[..., 2 * half :]], -1)


class Conformer(nn.Module):
    """The block after its projection to ``dim`` channels."""

    def __init__(self, dim: int, heads: int, context: int, kernel: int, causal: bool) -> None:
        super().__init__()
        self.before, self.after = feed_forward(dim), feed_forward(dim)
        self.attention = SelfAttention(dim, heads, context, causal)
        self.convolution = nn.Sequential(
            LayerNorm(dim),
            nn.Conv1d(dim, 2 * dim, 1),
            nn.GLU(dim=1),
            Conv1d(dim, dim, kernel, groups=dim, causal=causal),
            BatchNorm1d(dim),
            nn.SiLU(),
            nn.Conv1d(dim, dim, 1),
        )
        self.norm = LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x + 0.5 * self.before(x))
        x = x + self.convolution(x)
        return self.norm(x + 0.5 * self.after(x))

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not x.shape[-1]:
            return x, state or (self.attention.stream(x, None)[1], stream(self.convolution, x, None)[1])
        of_attention, of_convolution = state or (None, None)
        x, of_attention = self.attention.stream(x + 0.5 * self.before(x), of_attention)
        y, of_convolution = stream(self.convolution, x, of_convolution)
        x = x + y
        return self.norm(x + 0.5 * self.after(x)), (of_attention, of_convolution)


def feed_forward(dim: int) -> nn.Sequential:
    return nn.Sequential(LayerNorm(dim), nn.Conv1d(dim, 4 * dim, 1), nn.SiLU(), nn.Conv1d(4 * dim, dim, 1))


def build_attention(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    dim = settings["dim"]
    block = SelfAttention(dim, settings["heads"], settings["context"], causal)
    return block if in_shape[0] == dim else nn.Sequential(nn.Conv1d(in_shape[0], dim, 1), block)


def build_conformer(settings: Mapping[str, int], in_shape: tuple[int, ...], causal: bool) -> nn.Module:
    dim = settings["dim"]
    block = Conformer(dim, settings["heads"], settings["context"], settings["kernel"], causal)
    return block if in_shape[0] == dim else nn.Sequential(nn.Conv1d(in_shape[0], dim, 1), block)
