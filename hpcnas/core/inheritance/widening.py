"""A block with more channels that computes what the narrower one did: Net2WiderNet (Chen et al., ICLR 2016,
arXiv:1511.05641).

The new channels repeat old ones. The next layer's weight for a repeated channel is divided among its copies, in shares that
sum to one, so the model's output stays the same. differs: the shares are random. With equal shares the copies would get equal
gradients and stay equal. The paper adds noise against that, which changes the output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hpcnas.core.architecture import Block
from hpcnas.core.inheritance.parts import Arrays, Shapes

WIDTH = {
    "conv": "channels",
    "conv1d": "channels",
    "dense": "units",
    "gru": "units",
    "lowrank": "units",
    "lstm": "units",
    "rnn": "units",
    "svdf": "filters",
    "tdnn": "channels",
}
"""Kinds that can be widened, and the setting that says how wide they are."""
RECURRENT = ("gru", "lstm", "rnn")


def is_wider(child: Block, parent: Block) -> bool:
    """Whether the two differ in their width only, and the child is the wider one."""
    name = WIDTH.get(child.kind)
    if name is None or child.kind != parent.kind:
        return False
    ours, theirs = dict(child.settings), dict(parent.settings)
    wide, narrow = ours.pop(name), theirs.pop(name)
    return ours == theirs and wide > narrow


def widened(
    shapes: Shapes,
    arrays: Arrays,
    pairs: Mapping[str, str],
    mutated: str,
    child: Block,
    parent: Block,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """The child's arrays in the mutated part and behind it, made from the parent's; empty if their parts do not agree.

    Args:
        pairs: the donor's part for each of the child's, from the mutated one on.
        mutated: the child's part that is wider.
    """
    setting = WIDTH[child.kind]
    old, new = dict(parent.settings)[setting], dict(child.settings)[setting]
    source = np.concatenate([np.arange(old), rng.integers(old, size=new - old)])
    weight = rng.uniform(0.5, 1.5, new)
    share = weight / np.bincount(source, weight)[source]
    made: dict[str, np.ndarray] = {}
    read = False
    for own, theirs in pairs.items():
        names = {name: theirs + name[len(own) :] for name in shapes if name.startswith(own)}
        if not all(of in arrays and arrays[of].ndim == len(shapes[name]) for name, of in names.items()):
            return {}
        sources = {name: arrays[of] for name, of in names.items()}
        differ = any(array.shape != shapes[name] for name, array in sources.items())
        if sources and own != mutated and not read and not differ:
            return {}  # the channels became bands of a plane, whose order and number have a meaning
        read |= own != mutated and differ
        by_gate = own == mutated and child.kind in RECURRENT
        for name, array in sources.items():
            for axis in [a for a in range(array.ndim) if array.shape[a] != shapes[name][a]]:
                times, rest = divmod(array.shape[axis], old)
                if axis > 1 or rest or shapes[name][axis] != times * new:
                    return {}
                if by_gate:  # all units of one gate stand together
                    index, scale = (np.arange(times)[:, None] * old + source).ravel(), np.tile(share, times)
                else:  # all bands of one channel stand together
                    index, scale = (source[:, None] * times + np.arange(times)).ravel(), np.repeat(share, times)
                array = array.take(index, axis)
                if axis == 1:  # it reads the repeated channels
                    array = array * scale.reshape(-1, *[1] * (array.ndim - 2)).astype(array.dtype)
            made[name] = array
    return made
