"""The int8 graph that a module becomes on a microcontroller, without converting it.

Follows what litert-torch 0.10 and ai-edge-quantizer 0.10 make of our layers, operator by operator as far as memory goes by it:
convolutions have channels innermost and are fenced by transposes where their surroundings have not; batch norm and ReLU behind
a convolution on planes disappear in it, and are a multiplication and an addition behind one over time; padding that is not
what the window needs is an operator of its own. ``benchmarks/arena.py`` compares with the real thing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcnas.core.arena import Buffer, planned
from hpcnas.core.microcontrollers import Work
from hpcnas.nn.tracing import Step, Trace

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


def converted(parts: Sequence[Trace]) -> Graph:
    """The graph of parts that hand on to each other: the first output of each is the first input of the next, and the first
    part's is (1, F, T) raw log-mel, which is normalised before. Other inputs and outputs are the graph's own, a stream's state.
    """
    return _Conversion(parts).graph


class _Value:
    """A result, in the one or the other order in memory, or both.

    Args:
        shape: as torch has it.
        base: what it is another shape of, (B, C, F, T) in memory.
        maker: the operator that it came from; empty for another shape of something.
    """

    __slots__ = ("base", "innermost", "maker", "outermost", "shape", "shapes")

    def __init__(self, shape: Shape, outermost: int = -1, innermost: int = -1, base: _Value | None = None, maker: str = ""):
        self.shape, self.outermost, self.innermost, self.base, self.maker = shape, outermost, innermost, base, maker
        self.shapes: dict[Shape, _Value] = {}

    def viewed(self, shape: Shape) -> _Value:
        root = self.base or self
        if shape == root.shape:
            return root
        if shape not in root.shapes:
            root.shapes[shape] = _Value(shape, base=root)
        return root.shapes[shape]

    @property
    def is_either(self) -> bool:
        """Whether both orders are the same in memory."""
        return len(self.shape) == 4 and (self.shape[1] == 1 or self.shape[2] * self.shape[3] == 1)

    @property
    def has_channels_innermost(self) -> bool:
        root = self.base or self
        return root.innermost >= 0 and root.outermost < 0 and (root is self or root.is_either)


class _Conversion:
    def __init__(self, parts: Sequence[Trace]) -> None:
        self.graph = Graph()
        self._sizes: list[int] = []
        self._lives: list[list[int]] = []
        self._scratch: list[Buffer] = []
        self._known: set[tuple] = set()
        self._work: Counter[str] = Counter()
        self._at = 0
        _, bands, frames = parts[0].inputs[0]
        features = _Value((1, bands, frames), self._tensor(bands * frames))
        states = [[_Value(shape, self._tensor(math.prod(shape))) for shape in part.inputs[1:]] for part in parts]
        features.outermost = self._emit("SUB", [features.outermost], bands * frames, bands)
        features.outermost = self._emit("MUL", [features.outermost], bands * frames, 1)
        results = []
        for part, own in zip(parts, states):
            features, *others = self._part(part, [features, *own])
            results += others
        ends = [self._outermost(value) for value in (features, *results)]
        for tensor in ends:
            self._lives[tensor][1] = self._at - 1
        self.graph.ends = len(ends) + sum(len(part.inputs) - 1 for part in parts) + 1
        self.graph.buffers = [Buffer(size, *life) for size, life in zip(self._sizes, self._lives)] + self._scratch
        self.graph.work = Work(**self._work)

    def _part(self, part: Trace, inputs: list[_Value]) -> list[_Value]:
        values, steps = dict(enumerate(inputs)), _wanted(part)
        uses = Counter(number for step in steps for number in step.inputs)
        uses.update(part.outputs)
        for step in steps:
            given = [values[number] for number in step.inputs]
            convert = getattr(self, f"_{step.kind}", None) or self._other
            values[step.output] = convert(step, given, uses[step.inputs[0]] == 1)
        return [values[number] for number in part.outputs]

    # Each takes the step, what it works on, and whether nothing else does.

    def _view(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return given[0].viewed(step.shape)

    _reshape = _unsafe_view = _unsqueeze = _squeeze = _flatten = _view

    def _clone(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return given[0]

    _contiguous = _alias = _detach = _to_copy = _clone

    def _slice(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        """Nothing, where all is wanted."""
        if step.shape == given[0].shape:
            return given[0]
        for place in ("begin", step.options):
            self._share((str(place), *step.shape), 4 * len(step.shape))
        return self._other(step, given, alone)

    _select = _slice

    def _expand(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return given[0] if step.shape == given[0].shape else self._other(step, given, alone)

    def _cat(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        """Parts have scales of their own: all but one are brought to that of the whole."""
        if len(given) == 1:
            return given[0]
        brought = [_Value(x.shape, self._emit("QUANTIZE", [self._outermost(x)], math.prod(x.shape))) for x in given[1:]]
        return self._other(step, [given[0], *brought], alone)

    def _convolution(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        stride, padding, dilation, _, _, groups = step.options[-6:]
        (outputs, per_group, *window), shape = step.constants[0], step.shape
        x = given[0]
        if is_over_time := len(shape) == 3:
            x, shape, window = x.viewed((1, x.shape[1], 1, x.shape[2])), (1, outputs, 1, shape[2]), [1, *window]
            stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
        source, (_, channels, *lengths) = self._innermost(x), x.shape
        needed = [_same(*one) for one in zip(lengths, shape[2:], stride, window, dilation)]
        given_pads = [(pad, pad) for pad in padding]
        if any(padding) and needed != given_pads:
            high, wide = (length + 2 * pad for length, pad in zip(lengths, padding))
            source = self._emit("PAD", [source], channels * high * wide, shared=("pad", *given_pads), shared_bytes=32)
        kind = "DEPTHWISE_CONV_2D" if groups > 1 or channels == 1 else "CONV_2D"
        weights, elements = outputs * per_group * math.prod(window), math.prod(shape)
        made = self._layer(kind, source, elements, weights, outputs)
        self.graph.channels += outputs
        macs = elements // outputs * weights
        self._work["convolution" if kind == "CONV_2D" else "depthwise"] += macs
        value = _Value(shape, innermost=made, maker=kind)
        return value.viewed(step.shape) if is_over_time else value

    def _constant_pad_nd(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        source, shared = self._outermost(given[0]), ("pad", str(step.options))
        return _Value(step.shape, self._emit("PAD", [source], math.prod(step.shape), 0, shared, 8 * len(step.shape)))

    def _addmm(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        outputs, weights = step.shape[-1], math.prod(step.constants[-1])
        made = self._layer("FULLY_CONNECTED", self._outermost(given[0]), math.prod(step.shape), weights, outputs)
        self._work["dense"] += weights * math.prod(step.shape) // outputs
        return _Value(step.shape, made, maker="FULLY_CONNECTED")

    _linear = _addmm

    def _native_batch_norm(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        if alone and given[0].maker in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return given[0]
        given = [self._each("SUB", given, step.shape[1])] if given[0].has_channels_innermost else given
        return self._each("ADD", [self._each("MUL", given, step.shape[1])], step.shape[1])

    _cudnn_batch_norm = _native_batch_norm

    def _native_layer_norm(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        """Mean, mean of squared differences from it, and a product and a sum with what is learnt."""
        x, size, each = self._outermost(given[0]), math.prod(step.shape), math.prod(step.shape[:-1])
        mean = self._averaged(x, each)
        squares = self._emit("SQUARED_DIFFERENCE", [x, mean], size)
        root = self._emit("RSQRT", [self._emit("ADD", [self._averaged(squares, each)], each, 1)], each)
        scaled = self._emit("MUL", [self._emit("SUB", [x, mean], size), root], size)
        scaled = self._emit("MUL", [scaled], size, step.shape[-1])
        return _Value(step.shape, self._emit("ADD", [scaled], size, step.shape[-1]), maker="ADD")

    def _glu(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        first, second = (self._other(Step("slice", (), 0, step.shape), given, False) for _ in range(2))
        return self._each("MUL", [first, self._each("LOGISTIC", [second])])

    def _relu(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        root = given[0].base if given[0].base and given[0].base.is_either else given[0]
        return given[0] if alone and root.maker in _WITH_ACTIVATION else self._each("RELU", given)

    def _sigmoid(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return self._each("LOGISTIC", given)

    def _silu(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return self._each("MUL", [given[0], self._each("LOGISTIC", given)])

    def _add(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return self._each("ADD", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    def _sub(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return self._each("SUB", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    def _mul(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return self._each("MUL", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    _div = _mul

    def _mean(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        return _Value(step.shape, self._averaged(self._outermost(given[0]), math.prod(step.shape), str(step.options)))

    def _max_pool2d_with_indices(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        """What the last windows lack is padded, and their means are divided by how many there were."""
        kind = "MAX_POOL_2D" if "max" in step.kind else "AVERAGE_POOL_2D"
        (_, channels, bands, frames), (high, wide) = given[0].shape, step.options[0]
        whole = (step.shape[2] * high, step.shape[3] * wide)
        source = self._innermost(given[0])
        if whole != (bands, frames):
            source = self._emit("PAD", [source], channels * math.prod(whole), 0, ("pad", *whole), 32)
        value = _Value(step.shape, innermost=self._emit(kind, [source], math.prod(step.shape)), maker=kind)
        is_uneven = kind == "AVERAGE_POOL_2D" and whole != (bands, frames)
        return self._each("MUL", [value], math.prod(step.shape[2:])) if is_uneven else value

    _avg_pool2d = _max_pool2d = _max_pool2d_with_indices

    def _bmm(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        self._work["dense"] += math.prod(step.shape) * given[0].shape[-1]
        self._scratch.append(Buffer(2 * math.prod(given[-1].shape), self._at, self._at))
        return self._other(step, given, alone)

    def _other(self, step: Step, given: list[_Value], alone: bool) -> _Value:
        """An operator of which nothing is known but what it takes and gives."""
        kind = _NAMES.get(step.kind, step.kind.strip("_").upper())
        constants = sum(math.prod(shape) for shape in step.constants)
        made = self._emit(kind, [self._outermost(value) for value in given], math.prod(step.shape), constants)
        return _Value(step.shape, made)

    # What they are made of.

    def _each(self, kind: str, given: Sequence[_Value], constants: int = 0) -> _Value:
        """Element by element, in the order in memory that all operands have, if they do."""
        shape = max((value.shape for value in given), key=math.prod)
        planes = [value for value in given if len(value.shape) == 4]
        if planes and all(value.has_channels_innermost for value in planes):
            made = self._emit(kind, [self._innermost(value) for value in given], math.prod(shape), constants)
            return _Value(shape, innermost=made, maker=kind)
        root = given[0].base
        if len(given) == 1 and root and root.is_either and root.has_channels_innermost:
            return self._each(kind, [root], constants).viewed(shape)
        made = self._emit(kind, [self._outermost(value) for value in given], math.prod(shape), constants)
        return _Value(shape, made, maker=kind)

    def _averaged(self, source: int, size: int, axes: str = "last") -> int:
        """Sums of 32 bits are kept meanwhile, and two short lists."""
        self._scratch += [Buffer(4 * size, self._at, self._at), *[Buffer(16, self._at, self._at)] * 2]
        return self._emit("MEAN", [source], size, shared=("axes", axes), shared_bytes=4)

    def _layer(self, kind: str, source: int, size: int, weights: int, outputs: int) -> int:
        graph = self.graph
        graph.constants += weights + 4 * outputs
        graph.tensors += 2
        graph.scales += 2 * outputs
        return self._emit(kind, [source], size)

    def _innermost(self, value: _Value) -> int:
        if value.innermost < 0:
            if value.is_either:
                source = value.base or value
                value.innermost = self._reshaped(self._outermost(source), value.shape, "innermost")
            else:
                value.innermost = self._transposed(self._outermost(value), math.prod(value.shape), "innermost")
        return value.innermost

    def _outermost(self, value: _Value) -> int:
        if value.outermost < 0:
            if value.base:
                root = value.base
                source = root.innermost if root.is_either and root.innermost >= 0 else self._outermost(root)
                value.outermost = self._reshaped(source, value.shape, "outermost")
            elif value.is_either:
                value.outermost = self._reshaped(value.innermost, value.shape, "outermost")
            else:
                value.outermost = self._transposed(value.innermost, math.prod(value.shape), "outermost")
        return value.outermost

    def _reshaped(self, source: int, shape: Shape, order: str) -> int:
        return self._emit("RESHAPE", [source], math.prod(shape), shared=(order, *shape), shared_bytes=4 * len(shape))

    def _transposed(self, source: int, size: int, order: str) -> int:
        return self._emit("TRANSPOSE", [source], size, shared=(order,), shared_bytes=16)

    def _emit(
        self, kind: str, inputs: Sequence[int], size: int, constants: int = 0, shared: tuple = (), shared_bytes: int = 0
    ) -> int:
        """A new operator and the tensor that it gives.

        Args:
            constants: bytes of its own constant tensor, if it has one.
            shared: tells its constant tensor from others where equal ones are one.
        """
        for tensor in inputs:
            self._lives[tensor][1] = self._at
        made = self._tensor(size)
        graph = self.graph
        graph.operators[kind] += 1
        if kind not in _WITH_WORK:
            self._work["element"] += size
        if constants:
            graph.constants += constants
            graph.tensors += 1
            graph.scales += 1
        if shared:
            self._share(shared, shared_bytes)
        self._at += 1
        return made

    def _share(self, name: tuple, size: int) -> None:
        """A constant tensor that is there once."""
        if name not in self._known:
            self._known.add(name)
            self.graph.constants += size
            self.graph.tensors += 1

    def _tensor(self, size: int) -> int:
        self._sizes.append(size)
        self._lives.append([self._at, self._at])
        self.graph.tensors += 1
        self.graph.scales += 1
        return len(self._sizes) - 1


_WITH_ACTIVATION = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "SUB")
"""Operators that a ReLU behind them disappears in."""
_WITH_WORK = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")
_NAMES = {"bmm": "BATCH_MATMUL", "cat": "CONCATENATION", "permute": "TRANSPOSE", "select": "SLICE", "clamp": "MINIMUM"}


def _same(length: int, outputs: int, stride: int, window: int, dilation: int) -> tuple[int, int]:
    """Padding before and behind with which a window needs none of its own: TensorFlow's "SAME"."""
    total = max((outputs - 1) * stride + (window - 1) * dilation + 1 - length, 0)
    return total // 2, total - total // 2


def _wanted(part: Trace) -> list[Step]:
    """The steps that its outputs need."""
    wanted, kept = set(part.outputs), []
    for step in reversed(part.steps):
        if step.output in wanted:
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]
