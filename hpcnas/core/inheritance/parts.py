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
    """The leading part that the child's and the donor's arrays have in common, by the names of the child's part ``own``.

    The gates of a recurrence lie one behind the other in its arrays, so these are inherited only if their sizes agree.
    """
    found = {}
    for name, shape in shapes.items():
        array = arrays.get(theirs + name[len(own) :]) if name.startswith(own) else None
        if array is not None and array.ndim == len(shape) and (array.shape == shape or not _GATES.search(name)):
            found[name] = array[tuple(slice(0, length) for length in shape)]
    return found
