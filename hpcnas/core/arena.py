"""Placing tensors in one stretch of memory, where those that do not live at the same time may share a place.

The algorithm is that of tflite-micro's ``GreedyMemoryPlanner`` (David et al., TensorFlow Lite Micro, MLSys 2021,
arXiv:2010.08678, section 4.4.2). It places the largest tensors first, of equal ones the later first. Each goes into the lowest
gap between the tensors that live at the same time.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import NamedTuple

ALIGNMENT = 16
"""The start of every tensor is a multiple of so many bytes."""


class Buffer(NamedTuple):
    """Memory of so many bytes, from one step to another, both included."""

    size: int
    first: int
    last: int


def planned(buffers: Iterable[Buffer]) -> int:
    """Bytes that all buffers together need.

    Args:
        buffers: in the order of their tensors' numbers.
    """
    waiting = sorted(enumerate(buffers), key=lambda pair: (-_aligned(pair[1].size), -pair[0]))
    placed: list[tuple[int, int, int, int]] = []
    highest = 0
    for _, (size, first, last) in waiting:
        size, start = _aligned(size), 0
        for begin, end, from_, to in placed:
            if from_ <= last and first <= to:
                if begin - start >= size:
                    break
                start = max(start, end)
        insort(placed, (start, start + size, first, last))
        highest = max(highest, start + size)
    return highest


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
