"""Steps from one architecture to the next: architecture in, architecture out."""

from __future__ import annotations

from dataclasses import replace

from hpcnas.core.architecture import Architecture, Block


def grow(architecture: Architecture, block: Block) -> Architecture:
    """Extend(a, u) of the paper's Algorithm 2: ``block`` on top, before the classifier."""
    return replace(architecture, blocks=(*architecture.blocks, block))


def swap(architecture: Architecture, index: int, block: Block) -> Architecture:
    """b <- a; b_i <- u of the paper's Algorithm 2: ``block`` in place of the one at ``index``."""
    blocks = list(architecture.blocks)
    blocks[index] = block
    return replace(architecture, blocks=tuple(blocks))


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
