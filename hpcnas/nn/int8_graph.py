"""An int8 graph as far as flash, memory and time go by it, put together operator by operator.

Every tensor has one byte an element; a value may lie in memory with channels outermost, as torch has it, or innermost, as
convolutions on a device want it, and what turns it from the one to the other is an operator too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcnas.core.arena import Buffer, planned
from hpcnas.core.microcontrollers import Work

Shape = tuple[int, ...]


@dataclass
class Graph:
    """What counts of an int8 graph."""

    buffers: list[Buffer] = field(default_factory=list)
    """Of tensors that are computed, then of what operators need while they run; in bytes and numbers of operators."""
    operators: Counter[str] = field(default_factory=Counter)
    constants: int = 0
    """Bytes of weights, biases, shapes and the like."""
    tensors: int = 0
    """Constant or computed."""
    scales: int = 0
    """Of all tensors: one each, or one per channel."""
    channels: int = 0
    """Outputs of all convolutions."""
    ends: int = 0
    """Inputs and outputs of the graph."""
    work: Work = field(default_factory=Work)

    @property
    def flash(self) -> int:
        """Bytes of the .tflite file without tensors' names, which nothing on a device reads.

        Beside the constants, 12 bytes a scale with its zero point, and so many a tensor, with its share of operators and of
        what a FlatBuffer puts around it, as fitted to 50 files.
        """
        return self.constants + 12 * self.scales + 108 * self.tensors + 75 * self.ends + 365

    @property
    def arena(self) -> int:
        """Bytes that tflite-micro needs for this graph: tensors as its planner places them, and what it keeps for good.

        The latter is fitted to 50 graphs under an interpreter with pointers of 64 bits; with 32 bits it is about half.
        """
        kept = 47 * self.tensors + 70 * sum(self.operators.values()) + 8 * self.channels + 96 * self.ends + 600
        return planned(self.buffers) + kept


class Value:
    """A result, in the one or the other order in memory, or both.

    Args:
        shape: as torch has it.
        base: what it is another shape of, (B, C, F, T) in memory.
        maker: the operator that it came from; empty for another shape of something.
    """

    __slots__ = ("base", "innermost", "made_innermost", "maker", "outermost", "shape", "shapes")

    def __init__(self, shape: Shape, outermost: int = -1, innermost: int = -1, base: Value | None = None, maker: str = ""):
        self.shape, self.outermost, self.innermost, self.base, self.maker = shape, outermost, innermost, base, maker
        self.made_innermost = innermost >= 0
        self.shapes: dict[Shape, Value] = {}

    def viewed(self, shape: Shape) -> Value:
        root = self.base or self
        if shape == root.shape:
            return root
        if shape not in root.shapes:
            root.shapes[shape] = Value(shape, base=root)
        return root.shapes[shape]

    @property
    def is_either(self) -> bool:
        """Whether both orders are the same in memory."""
        return len(self.shape) == 4 and (self.shape[1] == 1 or self.shape[2] * self.shape[3] == 1)

    @property
    def has_channels_innermost(self) -> bool:
        """Whether it was made so."""
        root = self.base or self
        return root.made_innermost and (root is self or root.is_either)


class Builder:
    """A graph that grows. Tensors are told by number, in the order in which they are made."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.at = 0
        """Number of the next operator."""
        self._sizes: list[int] = []
        self._lives: list[list[int]] = []
        self._scratch: list[Buffer] = []
        self._known: set[tuple] = set()
        self._work: Counter[str] = Counter()

    def finished(self, inputs: int, outputs: Sequence[Value]) -> Graph:
        """The graph with ``inputs`` inputs that gives these."""
        for tensor in [self.outermost(value) for value in outputs]:
            self._lives[tensor][1] = -1
        last = self.at - 1
        tensors = [Buffer(size, first, to if to >= 0 else last) for size, (first, to) in zip(self._sizes, self._lives)]
        self.graph.buffers, self.graph.work = tensors + self._scratch, Work(**self._work)
        self.graph.ends = inputs + len(outputs)
        return self.graph

    def works(self, kind: str, macs: int) -> None:
        """Note multiply-accumulates, of a kind that ``Work`` has."""
        self._work[kind] += macs

    def needs(self, size: int) -> None:
        """Note memory that the next operator needs while it runs."""
        self._scratch.append(Buffer(size, self.at, self.at))

    def each(self, kind: str, given: Sequence[Value], constants: int = 0) -> Value:
        """Element by element, in the order in memory that all operands have, if they do."""
        shape = max((value.shape for value in given), key=math.prod)
        planes = [value for value in given if len(value.shape) == 4]
        if planes and all(value.has_channels_innermost for value in planes):
            made = self.emit(kind, [self.innermost(value) for value in given], math.prod(shape), constants)
            return Value(shape, innermost=made, maker=kind)
        root = given[0].base
        if len(given) == 1 and root and root.is_either and root.has_channels_innermost:
            return self.each(kind, [root], constants).viewed(shape)
        made = self.emit(kind, [self.outermost(value) for value in given], math.prod(shape), constants)
        return Value(shape, made, maker=kind)

    def averaged(self, source: int, size: int, axes: str = "last") -> int:
        """Sums of 32 bits are kept meanwhile, and two short lists."""
        for needed in (4 * size, 16, 16):
            self.needs(needed)
        return self.emit("MEAN", [source], size, shared=("axes", axes), shared_bytes=4)

    def layer(self, kind: str, source: int, size: int, weights: int, outputs: int) -> int:
        graph = self.graph
        graph.constants += weights + 4 * outputs
        graph.tensors += 2
        graph.scales += 2 * outputs
        return self.emit(kind, [source], size)

    def innermost(self, value: Value) -> int:
        if value.innermost < 0:
            if value.is_either:
                source = value.base or value
                value.innermost = self._reshaped(self.outermost(source), value.shape, "innermost")
            else:
                value.innermost = self._transposed(self.outermost(value), math.prod(value.shape), "innermost")
        return value.innermost

    def outermost(self, value: Value) -> int:
        if value.outermost < 0:
            if value.base:
                root = value.base
                source = root.innermost if root.is_either and root.innermost >= 0 else self.outermost(root)
                value.outermost = self._reshaped(source, value.shape, "outermost")
            elif value.is_either:
                value.outermost = self._reshaped(value.innermost, value.shape, "outermost")
            else:
                value.outermost = self._transposed(value.innermost, math.prod(value.shape), "outermost")
        return value.outermost

    def _reshaped(self, source: int, shape: Shape, order: str) -> int:
        return self.emit("RESHAPE", [source], math.prod(shape), shared=(order, *shape), shared_bytes=4 * len(shape))

    def _transposed(self, source: int, size: int, order: str) -> int:
        return self.emit("TRANSPOSE", [source], size, shared=(order,), shared_bytes=16)

    def emit(
        self, kind: str, inputs: Sequence[int], size: int, constants: int = 0, shared: tuple = (), shared_bytes: int = 0
    ) -> int:
        """A new operator and the tensor that it gives.

        Args:
            constants: bytes of its own constant tensor, if it has one.
            shared: tells its constant tensor from others where equal ones are one.
        """
        for tensor in inputs:
            self._lives[tensor][1] = self.at
        made = self.tensor(size)
        graph = self.graph
        graph.operators[kind] += 1
        if kind not in _WITH_WORK:
            self._work["element"] += size
        if constants:
            graph.constants += constants
            graph.tensors += 1
            graph.scales += 1
        if shared:
            self.share(shared, shared_bytes)
        self.at += 1
        return made

    def share(self, name: tuple, size: int) -> None:
        """A constant tensor that is there once."""
        if name not in self._known:
            self._known.add(name)
            self.graph.constants += size
            self.graph.tensors += 1

    def tensor(self, size: int) -> int:
        self._sizes.append(size)
        self._lives.append([self.at, self.at])
        self.graph.tensors += 1
        self.graph.scales += 1
        return len(self._sizes) - 1


_WITH_WORK = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
