"""From an architecture to a torch module with stable parameter names.

Shape letters: ``B`` batch, ``C`` channels, ``F`` bands, ``T`` frames, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.microcontrollers import Microcontroller
from hpcnas.core.space import known_type
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.folding import folded
from hpcnas.nn.heads import HEADS, Head
from hpcnas.nn.layers import State, stream
from hpcnas.nn.masking import Mask, masking


@dataclass(frozen=True)
class Surroundings:
    """What a tower stands between, equal for all architectures of a run.

    Args:
        bands: mel bands of the features.
        classes: K.
        tail: blocks behind the searched ones.
        head: how frames become one vector, a key of ``HEADS``.
        causal: no output may depend on a later frame.
        dropout: probability in front of the classifier.
        target: what the model is to run on, a key of ``TARGETS``; empty: anything.
        microcontroller: of which the target is, if any is named.
    """

    bands: int
    classes: int
    tail: tuple[Block, ...] = ()
    head: str = "mean"
    causal: bool = False
    dropout: float = 0.0
    target: str = ""
    microcontroller: Microcontroller | None = None


class Model(nn.Module):
    """Features in, logits out: blocks, tail, head, dropout, linear classifier.

    Parameters are named ``blocks.<index>.<rest>``, ``tail.<index>.<rest>``, ``head.<rest>`` and ``classifier.<rest>``, which
    inheritance relies on. Between a block on planes (B, C, F, T) and one on sequences (B, C, T) channels and bands are
    merged, or bands become channels of one.
    """

    def __init__(self, architecture: Architecture, around: Surroundings) -> None:
        super().__init__()
        shape: tuple[int, ...] = (around.bands,)
        self.blocks, shape = _tower(architecture.blocks, shape, around.causal)
        self.tail, shape = _tower(around.tail, shape, around.causal)
        self.head, self.classifier = build_ending(around, shape)
        self.dropout = nn.Dropout(around.dropout)
        self._is_frozen = False

    def freeze_tower(self) -> None:
        """Keep blocks and tail as they are, with the statistics that they have: training changes what is behind them alone."""
        self._is_frozen = True
        for part in (self.blocks, self.tail):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Model:
        super().train(mode)
        for part in (self.blocks, self.tail) if self._is_frozen else ():
            part.eval()
        return self

    def forward(self, features_BFT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """(B, K) logits of (B, F, T) features, of which only the first ``lengths_B`` frames are real, if given."""
        if lengths_B is not None:
            with masking(self, Mask(lengths_B, features_BFT.shape[-1])):
                return self.forward(features_BFT)
        x = features_BFT
        for block in (*self.blocks, *self.tail):
            x = block(x)
        return self.judge(merged(x))

    def judge(self, outputs_BCT: Tensor) -> Tensor:
        """(B, K) logits of the tower's outputs over any stretch of time."""
        return self.classifier(self.dropout(self.head(outputs_BCT)))

    def stream(self, features_BFT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """(B, K) logits of all frames so far, given the next ones (at least 1), and the new state; causal models only."""
        of_tower, of_head = state or (None, None)
        outputs, of_tower = self.stream_tower(features_BFT, of_tower)
        pooled, of_head = self.head.stream(outputs, of_head)
        return self.classifier(self.dropout(pooled)), (of_tower, of_head)

    def stream_tower(self, features_BFT: Tensor, state: State = None) -> tuple[Tensor, State]:
        """The tower's outputs (B, C, T') for the next frames, and the new state; causal models only. Strides may leave none."""
        tower = (*self.blocks, *self.tail)
        x, after = features_BFT, []
        for block, block_state in zip(tower, state or [None] * len(tower)):
            x, block_state = block.stream(x, block_state)
            after.append(block_state)
        return merged(x), after

    def inherit(self, arrays: Mapping[str, np.ndarray], near_identity: bool) -> int:
        """Take over ``arrays``, named as here; returns how many parameters that were, counted as in the model's cost. A smaller
        array takes the leading part.

        With ``near_identity`` a block that inherits nothing starts as the identity, if its type can.
        """
        state = self.state_dict()
        for name, array in arrays.items():
            part = state[name][tuple(slice(0, length) for length in array.shape)] if array.ndim else state[name]
            part.copy_(part.new_tensor(array))
        for index in range(len(self.blocks)) if near_identity else ():
            if not any(name.startswith(f"blocks.{index}.") for name in arrays):
                self.near_identity(index)
        inherited = sum(arrays[name].size for name, _ in self.named_parameters() if name in arrays)
        params, once_trained = (sum(p.numel() for p in model.parameters()) for model in (self, folded(self)))
        return round(inherited * once_trained / params)

    def near_identity(self, index: int) -> None:
        """Make block ``index`` start as the identity, if its type can."""
        if (own := getattr(self.blocks[index].module, "near_identity", None)) is not None:
            own()


class Adapted(nn.Module):
    """A block behind what turns its input into a plane or a sequence."""

    def __init__(self, module: nn.Module, on_planes: bool) -> None:
        super().__init__()
        self.module, self._on_planes = module, on_planes

    def forward(self, x: Tensor) -> Tensor:
        return self.module(self._adapt(x))

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return stream(self.module, self._adapt(x), state)

    def _adapt(self, x: Tensor) -> Tensor:
        if self._on_planes:
            return x.unsqueeze(1) if x.dim() == 3 else x
        return merged(x)


def build_model(architecture: Architecture, around: Surroundings, seed: int) -> Model:
    """A model initialised from ``seed`` alone; raises ArchitectureError if a block cannot follow the one before."""
    with seeded(seed):
        try:
            return Model(architecture, around)
        except (RuntimeError, ValueError) as error:
            raise ArchitectureError(f"{architecture}: cannot be built: {str(error).splitlines()[0]}") from error


def rebuilt(architecture: Architecture, arrays: Mapping[str, np.ndarray], around: Surroundings) -> Model:
    """A finished model from its stored arrays, for predictions only, without what only training needs."""
    model = build_model(architecture, around, seed=0)
    model.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
    return folded(model).eval().requires_grad_(False)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator, which initialisation and dropout draw from, seeded within and restored behind."""
    # Of the GPU that this process works on, if any: to ask others would occupy memory of theirs, on rank 0 of each.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        # torch.manual_seed would do the same, and take milliseconds to note who called it.
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed(seed)
        yield


def build_block(block: Block, shape: tuple[int, ...], causal: bool) -> tuple[Adapted, tuple[int, ...]]:
    """A block's module for frames of ``shape``, (C,) or (C, F), and the shape of the frames that it gives."""
    module, shape = block_alone(block, shape, causal)
    return module, _out_shape(module.module, shape)


def block_alone(block: Block, shape: tuple[int, ...], causal: bool) -> tuple[Adapted, tuple[int, ...]]:
    """The same with the shape of the frames that go into it, which needs no try."""
    block = known_type(block.kind, BLOCK_TYPES).complete(block)
    part = BLOCKS[block.kind]
    if causal and not part.type.causal:
        raise ValueError(f"{block.kind} is not causal")
    on_planes = len(shape) == 2 if part.type.layout == "any" else part.type.layout == "plane"
    shape = _adapted(shape, on_planes)
    return Adapted(part.build(dict(block.settings), shape, causal), on_planes), shape


def build_ending(around: Surroundings, shape: tuple[int, ...]) -> tuple[Head, nn.Linear]:
    """Head and classifier behind frames of ``shape``."""
    (channels,) = _adapted(shape, False)
    head = HEADS[around.head](channels)
    return head, nn.Linear(channels * head.multiple, around.classes)


def _tower(blocks: Sequence[Block], shape: tuple[int, ...], causal: bool) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """The blocks' modules, and the shape of the frames that the last one gives."""
    modules = nn.ModuleList()
    for block in blocks:
        module, shape = build_block(block, shape, causal)
        modules.append(module)
    return modules, shape


def merged(x: Tensor) -> Tensor:
    """Planes (B, C, F, T) as sequences (B, C * F, T); sequences as they are."""
    return x.flatten(1, 2) if x.dim() == 4 else x


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
