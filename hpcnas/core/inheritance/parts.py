"""Arrays of a model by part: a block, a block of the tail, the head or the classifier, each inherited whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_GATES = re.compile(r"\.(weight|bias)_[ih]h_l\d")

Shapes = Mapping[str, tuple[int, ...]]
Arrays = Mapping[str, np.ndarray]


def part(name: str) -> str:
    """The prefix that the arrays of one part share: ``blocks.0.`` of ``blocks.0.module.weight``, ``classifier.``."""
    first, second, *_ = name.split(".")
    return f"{first}.{second}." if first in ("blocks", "tail") else f"{first}."


def corresponding(shapes: Shapes, blocks: Mapping[int, int], behind: bool) -> dict[str, str]:
    """Which part of a donor each part of the child corresponds to.

    Args:
        shapes: of the child's arrays.
        blocks: the donor's block for each of the child's.
        behind: whether what stands behind the searched blocks corresponds too.
    """
    pairs = {f"blocks.{child}.": f"blocks.{donor}." for child, donor in blocks.items()}
    if behind:
        pairs.update((p, p) for p in map(part, shapes) if not p.startswith("blocks."))
    return pairs


def taken(shapes: Shapes, arrays: Arrays, own: str, theirs: str) -> dict[str, np.ndarray]:
    """The donor's arrays of the part ``theirs`` by the names of the child's part ``own``; none if a shape differs."""
    sources = {name: theirs + name[len(own) :] for name in shapes if name.startswith(own)}
    if all(source in arrays and arrays[source].shape == shapes[name] for name, source in sources.items()):
        return {name: arrays[source] for name, source in sources.items()}
    return {}


def overlapping(shapes: Shapes, arrays: Arrays, own: str, theirs: str) -> dict[str, np.ndarray]:
    """The leading channels that the child's and the donor's arrays have in common, by the names of the child's part ``own``.

    Kernels are centred on each other, with zeros around a smaller one, so that a child that hears further does as its parent
    did. The gates of a recurrence lie one behind the other in its arrays, so these are inherited only if their sizes agree;
    so do kernels where a block gained or lost a layer, since its layers go by their number.
    """
    names = [name[len(own) :] for name in shapes if name.startswith(own)]
    has_same_layers = {*names} == {name[len(theirs) :] for name in arrays if name.startswith(theirs)}
    found = {}
    for name in names:
        array, shape = arrays.get(theirs + name), shapes[own + name]
        if array is None or array.ndim != len(shape) or (array.shape != shape and _GATES.search(own + name)):
            continue
        if has_same_layers or array.shape[2:] == shape[2:]:
            found[own + name] = _centred(array[tuple(slice(0, length) for length in shape[:2])], shape[2:])
    return found


def _centred(array: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray:
    """``array`` (out, in, ...) with its last axes cut or filled up with zeros, on both sides alike, until they are
    ``kernel``."""
    for axis, length in enumerate(kernel, 2):
        more = length - array.shape[axis]
        if more > 0:
            beside = [(0, 0)] * array.ndim
            beside[axis] = (more // 2, more - more // 2)
            array = np.pad(array, beside)
        elif more < 0:
            array = array.take(range(-more // 2, -more // 2 + length), axis)
    return array
