"""What a tower takes on a microcontroller: flash, working memory, time.

A model for whole windows is run on one of them; a causal one, which is what a device would run, on as few frames at a time as
its strides allow. Put together from traces of its blocks, which are kept: the whole takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hpcnas.core.architecture import Block
from hpcnas.core.microcontrollers import Microcontroller
from hpcnas.nn.converted import converted
from hpcnas.nn.folding import folded
from hpcnas.nn.layers import stream
from hpcnas.nn.model import Surroundings, block_alone, build_ending, merged
from hpcnas.nn.tracing import Trace, traced

Shape = tuple[int, ...]

KEPT = 2048
"""Blocks, each behind others of some shape, whose traces are kept: 20 kB each."""
LONGEST_HOP = 64
"""Frames that a block may make one of, at most."""


def figures(parts: Sequence[Trace], microcontroller: Microcontroller | None) -> dict[str, float]:
    """Those of ``Cost``, by name, of a tower that is made of these parts."""
    graph = converted(parts)
    ms = microcontroller.ms(graph.work) if microcontroller else 0.0
    return {"flash_kb": round(graph.flash / 1024, 2), "arena_kb": round(graph.arena / 1024, 2), "device_ms": round(ms, 2)}


class Windows:
    """Traces of the parts of models that are run on whole windows."""

    def __init__(self, around: Surroundings, frames: int) -> None:
        self._around, self._frames = around, frames
        self._block, self._ending = lru_cache(KEPT)(self._of_block), lru_cache(KEPT)(self._of_ending)

    def parts(self, blocks: Sequence[Block]) -> list[Trace]:
        """Of each block, and of head and classifier together."""
        shape: Shape = (self._around.bands, self._frames)
        found = []
        for block in blocks:
            trace, shape = self._block(block, shape)
            found.append(trace)
        return [*found, self._ending(shape)]

    def _of_block(self, block: Block, shape: Shape) -> tuple[Trace, Shape]:
        trace, output = traced(_bare(block, shape[:-1], False), [_empty(shape)])
        return trace, tuple(output.shape[1:])

    def _of_ending(self, shape: Shape) -> Trace:
        return traced(_judge(self._around, shape), [_empty(shape)])[0]


class Steps:
    """Traces of the parts of causal models that are fed frame by frame. What the tower has made of the newest window is part of
    the state."""

    def __init__(self, around: Surroundings, frames: int) -> None:
        self._around, self._window = around, frames
        self._block, self._ending = lru_cache(KEPT)(self._of_block), lru_cache(KEPT)(self._of_ending)
        self._hop = lru_cache(KEPT)(self._of_hop)

    def parts(self, blocks: Sequence[Block]) -> list[Trace]:
        """Of each block, and of head and classifier together."""
        frames, kept = 1, self._window
        shape: Shape = (self._around.bands,)
        for block in blocks:
            hop, shape = self._hop(block, shape)
            frames, kept = frames * hop, -(-kept // hop)
        shape, found = (self._around.bands, frames), list[Trace]()
        for block in blocks:
            trace, shape = self._block(block, shape)
            found.append(trace)
        return [*found, self._ending(shape, kept)]

    def _of_hop(self, block: Block, shape: Shape) -> tuple[int, Shape]:
        """Frames after which a block's strides stand where they stood and an output has come, and that output's shape."""
        module = _bare(block, shape, True)
        with torch.no_grad():
            _, start = stream(module, _empty((*shape, 0)), None)
            for frames in range(1, LONGEST_HOP + 1):
                output, after = stream(module, _empty((*shape, frames)), start)
                if output.shape[-1] and _fixed(after) == _fixed(start):
                    return frames, tuple(output.shape[1:-1])
        raise ValueError(f"{block} makes one frame of more than {LONGEST_HOP}")

    def _of_block(self, block: Block, shape: Shape) -> tuple[Trace, Shape]:
        module = _bare(block, shape[:-1], True)
        with torch.no_grad():
            _, start = stream(module, _empty((*shape[:-1], 0)), None)
        leaves, form = pytree.tree_flatten(start)
        places = [place for place, leaf in enumerate(leaves) if _is_state(leaf)]

        def step(x: Tensor, *states: Tensor) -> tuple[Tensor, list[Tensor]]:
            given = list(leaves)
            for place, state in zip(places, states):
                given[place] = state
            y, after = stream(module, x, pytree.tree_unflatten(given, form))
            return y, [leaf for leaf in pytree.tree_leaves(after) if _is_state(leaf)]

        trace, (output, _) = traced(step, [_empty(shape), *(leaves[place] for place in places)])
        return trace, tuple(output.shape[1:])

    def _of_ending(self, shape: Shape, kept: int) -> Trace:
        judge, channels = _judge(self._around, shape), math.prod(shape[:-1])

        def newest(x: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
            outputs = torch.cat([outputs, merged(x)], -1)[..., -kept:]
            return judge(outputs), outputs

        return traced(newest, [_empty(shape), _empty((channels, kept))])[0]


def _bare(block: Block, shape: Shape, causal: bool) -> nn.Module:
    """A block for frames of ``shape`` once it is trained, without data."""
    with torch.random.fork_rng(devices=[]):
        module, _ = block_alone(block, shape, causal)
    return folded(module).eval().to("meta")


def _judge(around: Surroundings, shape: Shape) -> Callable[[Tensor], Tensor]:
    """Logits of a tower's outputs of ``shape``."""
    with torch.random.fork_rng(devices=[]):
        head, classifier = (part.eval().to("meta") for part in build_ending(around, shape[:-1]))
    return lambda x: classifier(head(merged(x)))


def _fixed(state: Any) -> list[Any]:
    """What of a state is no tensor."""
    return [leaf for leaf in pytree.tree_leaves(state) if not isinstance(leaf, Tensor)]


def _is_state(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.numel() > 0


def _empty(shape: Shape) -> Tensor:
    """(1, ...) without data."""
    return torch.empty(1, *shape, device="meta")
