"""From an architecture to a torch module with stable parameter names.

Shape letters: ``B`` batch, ``C`` channels, ``F`` bands, ``T`` frames, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ArchitectureError
from hpcnas.nn.blocks import BLOCKS


class Model(nn.Module):
    """Features in, logits out: blocks, mean over time, dropout, linear classifier.

    Parameters are named ``blocks.<index>.<rest>`` and ``head.<rest>``, which inheritance relies on. Between a block on
    planes (B, C, F, T) and one on sequences (B, C, T) channels and bands are merged, or bands become channels of one.

    Args:
        bands: mel bands of the features.
        classes: K.
        dropout: probability in front of the classifier.
    """

    def __init__(self, architecture: Architecture, bands: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.is_plane = []
        shape: tuple[int, ...] = (bands,)
        for block in architecture.blocks:
            part = BLOCKS[block.kind]
            is_plane = len(shape) == 2 if part.type.layout == "any" else part.type.layout == "plane"
            shape = _adapted(shape, is_plane)
            module = part.build(dict(block.settings), shape)
            self.blocks.append(module)
            self.is_plane.append(is_plane)
            shape = _out_shape(module, shape)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(_adapted(shape, False)[0], classes)

    def forward(self, features_BFT: Tensor) -> Tensor:
        """(B, K) logits of (B, F, T) features."""
        x = features_BFT
        for block, is_plane in zip(self.blocks, self.is_plane):
            if is_plane and x.dim() == 3:
                x = x.unsqueeze(1)
            elif not is_plane and x.dim() == 4:
                x = x.flatten(1, 2)
            x = block(x)
        return self.head(self.dropout(x.mean(-1).flatten(1)))

    def near_identity(self, index: int) -> None:
        """Make block ``index`` start as the identity, if its type can."""
        if hasattr(self.blocks[index], "near_identity"):
            self.blocks[index].near_identity()


def build_model(architecture: Architecture, bands: int, classes: int, seed: int, dropout: float = 0.0) -> Model:
    """A model initialised from ``seed`` alone; raises ArchitectureError if a block cannot follow the one before."""
    with seeded(seed):
        try:
            return Model(architecture, bands, classes, dropout)
        except (RuntimeError, ValueError) as error:
            raise ArchitectureError(f"{architecture}: cannot be built: {str(error).splitlines()[0]}") from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator, which initialisation and dropout draw from, seeded within and restored behind."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _adapted(shape: tuple[int, ...], to_plane: bool) -> tuple[int, ...]:
    if to_plane and len(shape) == 1:
        return (1, shape[0])
    if not to_plane and len(shape) == 2:
        return (shape[0] * shape[1],)
    return shape


_PROBE_FRAMES = 64
"""Frames of the made-up input by which output shapes are found; any number that pooling and strides leave something of."""


def _out_shape(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    was_training = module.training
    module.eval()
    with torch.no_grad():
        out = module(torch.zeros(1, *shape, _PROBE_FRAMES))
    module.train(was_training)
    return tuple(out.shape[1:-1])
