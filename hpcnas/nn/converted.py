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

from hpcnas.nn.int8_graph import Builder, Graph, Value
from hpcnas.nn.tracing import Step, Trace


def converted(*towers: Sequence[Trace]) -> Graph:
    """The graph of one tower, or of several whose logits are averaged.

    A tower's parts hand on to each other: the first output of each is the first input of the next, and the first part's is
    (1, F, T) raw log-mel, which is normalised before. Other inputs and outputs are the graph's own, a stream's state.
    """
    return _Conversion().of(towers)


class _Conversion(Builder):
    def of(self, towers: Sequence[Sequence[Trace]]) -> Graph:
        _, bands, frames = towers[0][0].inputs[0]
        log_mel = Value((1, bands, frames), self.tensor(bands * frames))
        parts = [part for tower in towers for part in tower]
        states = [[Value(shape, self.tensor(math.prod(shape))) for shape in part.inputs[1:]] for part in parts]
        features = self.each("MUL", [self.each("SUB", [log_mel], bands)], 1)
        features.maker = ""
        logits: list[Value] = []
        results: list[Value] = []
        given = iter(states)
        for tower in towers:
            x = features
            for part in tower:
                x, *others = self._part(part, [x, *next(given)])
                results += others
            logits.append(x if len(towers) == 1 else self.each("MUL", [x], 1))
            logits[:] = logits if len(logits) == 1 else [self.each("ADD", logits)]
        return self.finished(1 + sum(map(len, states)), [*logits, *results])

    def _part(self, part: Trace, inputs: list[Value]) -> list[Value]:
        values, steps = dict(enumerate(inputs)), _wanted(part)
        uses = Counter(number for step in steps for number in step.inputs)
        uses.update(part.outputs)
        for step in steps:
            given = [values[number] for number in step.inputs]
            convert = _CONVERSIONS.get(step.kind, _Conversion._other)
            values[step.output] = convert(self, step, given, uses[step.inputs[0]] == 1)
        return [values[number] for number in part.outputs]

    # Each takes the step, what it works on, and whether nothing else does.

    def _view(self, step: Step, given: list[Value], alone: bool) -> Value:
        return given[0].viewed(step.shape)

    def _clone(self, step: Step, given: list[Value], alone: bool) -> Value:
        return given[0]

    def _slice(self, step: Step, given: list[Value], alone: bool) -> Value:
        """Nothing, where all is wanted."""
        if step.shape == given[0].shape:
            return given[0]
        for place in ("begin", step.options):
            self.share((str(place), *step.shape), 4 * len(step.shape))
        return self._other(step, given, alone)

    def _expand(self, step: Step, given: list[Value], alone: bool) -> Value:
        return given[0] if step.shape == given[0].shape else self._other(step, given, alone)

    def _cat(self, step: Step, given: list[Value], alone: bool) -> Value:
        """Parts have scales of their own: all but one are brought to that of the whole."""
        if len(given) == 1:
            return given[0]
        brought = [Value(x.shape, self.emit("QUANTIZE", [self.outermost(x)], math.prod(x.shape))) for x in given[1:]]
        return self._other(step, [given[0], *brought], alone)

    def _convolution(self, step: Step, given: list[Value], alone: bool) -> Value:
        stride, padding, dilation, _, _, groups = step.options[-6:]
        (outputs, per_group, *window), shape = step.constants[0], step.shape
        x = given[0]
        if is_over_time := len(shape) == 3:
            x, shape, window = x.viewed((1, x.shape[1], 1, x.shape[2])), (1, outputs, 1, shape[2]), [1, *window]
            stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
        source, (_, channels, *lengths) = self.innermost(x), x.shape
        needed = [_same(*one) for one in zip(lengths, shape[2:], stride, window, dilation)]
        given_pads = [(pad, pad) for pad in padding]
        is_same = needed == given_pads and all(out == -(-length // by) for out, length, by in zip(shape[2:], lengths, stride))
        if any(padding) and not is_same:
            high, wide = (length + 2 * pad for length, pad in zip(lengths, padding))
            source = self.emit("PAD", [source], channels * high * wide, shared=("pad", *given_pads), shared_bytes=32)
        kind = "DEPTHWISE_CONV_2D" if groups > 1 or channels == 1 else "CONV_2D"
        weights, elements = outputs * per_group * math.prod(window), math.prod(shape)
        made = self.layer(kind, source, elements, weights, outputs)
        self.graph.channels += outputs
        macs = elements // outputs * weights
        self.works("convolution" if kind == "CONV_2D" else "depthwise", macs)
        value = Value(shape, innermost=made, maker=kind)
        return value.viewed(step.shape) if is_over_time else value

    def _constant_pad_nd(self, step: Step, given: list[Value], alone: bool) -> Value:
        source, shared = self.outermost(given[0]), ("pad", str(step.options))
        return Value(step.shape, self.emit("PAD", [source], math.prod(step.shape), 0, shared, 8 * len(step.shape)))

    def _addmm(self, step: Step, given: list[Value], alone: bool) -> Value:
        outputs, weights = step.shape[-1], math.prod(step.constants[-1])
        made = self.layer("FULLY_CONNECTED", self.outermost(given[0]), math.prod(step.shape), weights, outputs)
        self.works("dense", weights * math.prod(step.shape) // outputs)
        return Value(step.shape, made, maker="FULLY_CONNECTED")

    def _native_batch_norm(self, step: Step, given: list[Value], alone: bool) -> Value:
        if alone and given[0].maker in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return given[0]
        given = [self.each("SUB", given, step.shape[1])] if given[0].has_channels_innermost else given
        return self.each("ADD", [self.each("MUL", given, step.shape[1])], step.shape[1])

    def _native_layer_norm(self, step: Step, given: list[Value], alone: bool) -> Value:
        """Mean, mean of squared differences from it, and a product and a sum with what is learnt."""
        x, size, each = self.outermost(given[0]), math.prod(step.shape), math.prod(step.shape[:-1])
        mean = self.averaged(x, each)
        squares = self.emit("SQUARED_DIFFERENCE", [x, mean], size)
        root = self.emit("RSQRT", [self.emit("ADD", [self.averaged(squares, each)], each, 1)], each)
        scaled = self.emit("MUL", [self.emit("SUB", [x, mean], size), root], size)
        scaled = self.emit("MUL", [scaled], size, step.shape[-1])
        return Value(step.shape, self.emit("ADD", [scaled], size, step.shape[-1]), maker="ADD")

    def _glu(self, step: Step, given: list[Value], alone: bool) -> Value:
        first, second = (self._other(Step("slice", (), 0, step.shape), given, False) for _ in range(2))
        return self.each("MUL", [first, self.each("LOGISTIC", [second])])

    def _relu(self, step: Step, given: list[Value], alone: bool) -> Value:
        root = given[0].base if given[0].base and given[0].base.is_either else given[0]
        if not alone or root.maker not in _WITH_ACTIVATION:
            return self.each("RELU", given)
        root.maker = ""  # what follows is behind the ReLU, and cannot disappear in what is in front of it
        return given[0]

    def _sigmoid(self, step: Step, given: list[Value], alone: bool) -> Value:
        return self.each("LOGISTIC", given)

    def _silu(self, step: Step, given: list[Value], alone: bool) -> Value:
        return self.each("MUL", [given[0], self.each("LOGISTIC", given)])

    def _add(self, step: Step, given: list[Value], alone: bool) -> Value:
        return self.each("ADD", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    def _sub(self, step: Step, given: list[Value], alone: bool) -> Value:
        return self.each("SUB", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    def _mul(self, step: Step, given: list[Value], alone: bool) -> Value:
        return self.each("MUL", given, math.prod(step.constants[0]) if step.constants else len(given) == 1)

    def _mean(self, step: Step, given: list[Value], alone: bool) -> Value:
        return Value(step.shape, self.averaged(self.outermost(given[0]), math.prod(step.shape), str(step.options)))

    def _max_pool2d_with_indices(self, step: Step, given: list[Value], alone: bool) -> Value:
        """What the last windows lack is padded, and their means are divided by how many there were."""
        kind = "MAX_POOL_2D" if "max" in step.kind else "AVERAGE_POOL_2D"
        (_, channels, bands, frames), (high, wide) = given[0].shape, step.options[0]
        whole = (step.shape[2] * high, step.shape[3] * wide)
        source = self.innermost(given[0])
        if whole != (bands, frames):
            source = self.emit("PAD", [source], channels * math.prod(whole), 0, ("pad", *whole), 32)
        value = Value(step.shape, innermost=self.emit(kind, [source], math.prod(step.shape)), maker=kind)
        is_uneven = kind == "AVERAGE_POOL_2D" and whole != (bands, frames)
        return self.each("MUL", [value], math.prod(step.shape[2:])) if is_uneven else value

    def _bmm(self, step: Step, given: list[Value], alone: bool) -> Value:
        self.works("dense", math.prod(step.shape) * given[0].shape[-1])
        self.needs(2 * math.prod(given[-1].shape))
        return self._other(step, given, alone)

    def _other(self, step: Step, given: list[Value], alone: bool) -> Value:
        """An operator of which nothing is known but what it takes and gives."""
        kind = _NAMES.get(step.kind, step.kind.strip("_").upper())
        constants = sum(math.prod(shape) for shape in step.constants)
        made = self.emit(kind, [self.outermost(value) for value in given], math.prod(step.shape), constants)
        return Value(step.shape, made)


_CONVERSIONS = {
    **dict.fromkeys(("view", "reshape", "unsafe_view", "unsqueeze", "squeeze", "flatten"), _Conversion._view),
    **dict.fromkeys(("clone", "contiguous", "alias", "detach", "to_copy"), _Conversion._clone),
    **dict.fromkeys(("slice", "select"), _Conversion._slice),
    "expand": _Conversion._expand,
    "cat": _Conversion._cat,
    "convolution": _Conversion._convolution,
    "constant_pad_nd": _Conversion._constant_pad_nd,
    **dict.fromkeys(("addmm", "linear"), _Conversion._addmm),
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm"), _Conversion._native_batch_norm),
    "native_layer_norm": _Conversion._native_layer_norm,
    "glu": _Conversion._glu,
    "relu": _Conversion._relu,
    "sigmoid": _Conversion._sigmoid,
    "silu": _Conversion._silu,
    "add": _Conversion._add,
    "sub": _Conversion._sub,
    **dict.fromkeys(("mul", "div"), _Conversion._mul),
    "mean": _Conversion._mean,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "max_pool2d"), _Conversion._max_pool2d_with_indices),
    "bmm": _Conversion._bmm,
}
"""By the name of torch's operator."""
_WITH_ACTIVATION = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "SUB")
"""Operators that a ReLU behind them disappears in."""
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
