"""What a module computes, as a list of torch's own operators with the shapes of what they give.

Run on tensors without data, so that a block of any size takes a millisecond or a few; layers then take the way that an
exported graph takes (see ``convolution.on_cpu``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Step:
    """One operator: of these values, counted from 0 over the whole trace, it makes ``output`` of ``shape``.

    Args:
        kind: torch's name without package and overload, such as ``convolution``.
        constants: shapes of its other tensors, which do not depend on the input, weights above all.
        options: its arguments that are not tensors.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int, ...]
    constants: tuple[tuple[int, ...], ...] = ()
    options: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Trace:
    """Values 0 to ``len(inputs)`` - 1 are what goes in, of these shapes; ``outputs`` are values too."""

    inputs: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


def traced(function: Callable[..., Any], inputs: Sequence[Tensor]) -> tuple[Trace, Any]:
    """The trace of ``function(*inputs)``, whose inputs and parameters are on the device ``meta``, and what it returned; outputs
    of the trace are the tensors in there that are not empty."""
    recorder = _Recorder(inputs)
    with torch.no_grad(), recorder:
        result = function(*inputs)
    leaves = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
    outputs = tuple(recorder.numbers[id(leaf)] for leaf in leaves if id(leaf) in recorder.numbers)
    return Trace(tuple(tuple(x.shape) for x in inputs), tuple(recorder.steps), outputs), result


class _Recorder(TorchDispatchMode):
    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.numbers = {id(tensor): number for number, tensor in enumerate(inputs)}
        self._next = len(self.numbers)
        self._alive: list[Any] = [inputs]
        """An object that is gone could leave its identity to another one."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kind = operator.overloadpacket.__name__
        result = _shaped(kind, args) if kind in _ELEMENTWISE else operator(*args, **(kwargs or {}))
        given = pytree.tree_leaves((args, kwargs))
        inputs = tuple(self.numbers[id(leaf)] for leaf in given if isinstance(leaf, Tensor) and id(leaf) in self.numbers)
        if not inputs:
            return result
        constants = tuple(tuple(t.shape) for t in given if isinstance(t, Tensor) and id(t) not in self.numbers and t.numel())
        options = tuple(value for value in args if not isinstance(value, Tensor))
        of_many = kind.endswith(_MANY)
        results = result if isinstance(result, (tuple, list)) else (result,)
        for one in results if of_many else results[:1]:
            if one.numel():  # what is empty is not there
                self.numbers[id(one)] = self._next
                self.steps.append(Step(kind, inputs, self._next, tuple(one.shape), constants, options))
                self._next += 1
        self._alive.append(result)
        return result


def _shaped(kind: str, args: tuple) -> Any:
    """What an operator that works element by element gives, which torch takes ten times as long to tell."""
    operands = [value for value in args if isinstance(value, Tensor)]
    if kind == "native_batch_norm":
        return operands[0].new_empty(operands[0].shape), operands[0].new_empty(0), operands[0].new_empty(0)
    return operands[0].new_empty(torch.broadcast_shapes(*(operand.shape for operand in operands)))


_ELEMENTWISE = ("native_batch_norm", "relu", "sigmoid", "silu", "tanh", "add", "sub", "mul", "div")
_MANY = ("split", "split_with_sizes", "unbind", "chunk")
"""Operators whose results are all of one kind; others give what is asked for first, and by-products behind it."""
