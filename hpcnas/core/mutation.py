"""Steps from one architecture to the next: architecture in, architecture out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.space import SearchSpace


def grow(architecture: Architecture, block: Block) -> Architecture:
    """Extend(a, u) of the paper's Algorithm 2: ``block`` on top, before the classifier."""
    return replace(architecture, blocks=(*architecture.blocks, block))


def insert(architecture: Architecture, index: int, block: Block) -> Architecture:
    """``block`` in front of the one at ``index``."""
    blocks = architecture.blocks
    return replace(architecture, blocks=(*blocks[:index], block, *blocks[index:]))


def remove(architecture: Architecture, index: int) -> Architecture:
    """Without the block at ``index``."""
    blocks = architecture.blocks
    return replace(architecture, blocks=(*blocks[:index], *blocks[index + 1 :]))


def swap(architecture: Architecture, index: int, block: Block) -> Architecture:
    """b <- a; b_i <- u of the paper's Algorithm 2: ``block`` in place of the one at ``index``."""
    blocks = list(architecture.blocks)
    blocks[index] = block
    return replace(architecture, blocks=tuple(blocks))


def random_tower(space: SearchSpace, depth: int, rng: np.random.Generator) -> Architecture:
    """``depth`` random blocks, or as many as the space allows."""
    return Architecture(tuple(space.sample(rng) for _ in range(min(depth, space.max_depth))))


def random_mutation(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str]:
    """One random step and its name: with equal chance a block replaced, inserted or, of several, removed."""
    steps = ["swap"]
    steps += ["insert"] if architecture.depth < space.max_depth else []
    steps += ["remove"] if architecture.depth > 1 else []
    step = steps[rng.integers(len(steps))]
    index = int(rng.integers(architecture.depth + (step == "insert")))
    if step == "insert":
        return insert(architecture, index, space.sample(rng)), f"insert {index}"
    if step == "remove":
        return remove(architecture, index), f"remove {index}"
    return swap(architecture, index, space.sample(rng)), f"swap {index}"


def crossover(first: Architecture, second: Architecture, space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """The first blocks of one tower and the last of the other, cut at random places, no deeper than the space allows."""
    head = first.blocks[: rng.integers(1, first.depth + 1)]
    room = min(second.depth, space.max_depth - len(head))
    return Architecture((*head, *second.blocks[second.depth - int(rng.integers(room + 1)) :]))


def matching_blocks(child: Architecture, parent: Architecture, behind: bool) -> dict[int, int]:
    """Which block of ``parent`` each block of ``child`` may inherit from, by index.

    The leading blocks that are equal in both (the paper's Fig. 2: the first mismatch is the boundary), and with
    ``behind`` also the trailing ones, so that a mutation leaves the blocks on both of its sides alone.
    """
    shorter = min(child.depth, parent.depth)
    leading = 0
    while leading < shorter and child.blocks[leading] == parent.blocks[leading]:
        leading += 1
    pairs = {i: i for i in range(leading)}
    if behind:
        trailing = 0
        while trailing < shorter - leading and child.blocks[-1 - trailing] == parent.blocks[-1 - trailing]:
            trailing += 1
            pairs[child.depth - trailing] = parent.depth - trailing
    return pairs
