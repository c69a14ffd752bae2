"""Training and judging a model as it will run in 8-bit integers.

Fake quantisation (Jacob et al., CVPR 2018, arXiv:1712.05877): weights and activations are rounded to the values that int8 can
hold, and gradients pass as if they were not (the straight-through estimator, Bengio et al., 2013, arXiv:1308.3432). As in
LiteRT's scheme, weights are symmetric with a scale for each output channel, activations have one scale and zero point a tensor.

A batch norm behind a layer scales whole output channels, and so do the scales of its weights: rounding the weights before the
norm is folded into them is rounding them afterwards. Ranges of activations are those of the batch at hand, so that there is no
state to keep or to inherit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hpcnas.nn.layers import Conv1d, Conv2d

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear, Conv1d, Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
ACTIVATIONS = (nn.ReLU, nn.ReLU6)
"""What LiteRT fuses with the operator before it."""
PASSING = (nn.Sequential, nn.ModuleList, nn.Dropout, nn.Identity)
"""Without arithmetic of their own."""


class AsInt8:
    """Inside ``with``, ``model`` computes as in 8-bit integers; behind, it has its own weights again. Backward passes belong
    inside. What is rounded is found once, so that one of these serves all steps of a training."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._rounded = model, rounded(model)
        self._weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        self._own: list[Tensor] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> None:
        self._own = [weight.detach().clone() for weight in self._weights]
        self._hooks = [module.register_forward_hook(_round_output) for module in self._rounded]
        self._hooks.append(self._model.register_forward_pre_hook(_round_input))
        with torch.no_grad():
            for weight in self._weights:
                weight.copy_(rounded_weight(weight))

    def __exit__(self, *raised: object) -> None:
        for hook in self._hooks:
            hook.remove()
        with torch.no_grad():
            for weight, own in zip(self._weights, self._own):
                weight.copy_(own)


def rounded(model: nn.Module) -> list[nn.Module]:
    """The modules whose outputs stand in memory on a device: those with arithmetic of their own, but not layers and norms that
    are fused with what is behind them."""
    fused = {part for chain in model.modules() if isinstance(chain, nn.Sequential) for part in _fused(chain)}
    return [
        module for module in model.modules() if module is not model and module not in fused and not isinstance(module, PASSING)
    ]


def rounded_weight(weight: Tensor) -> Tensor:
    """The nearest values of int8, symmetric, with a scale for each index of the first axis."""
    flat = weight.flatten(1)
    scale = flat.abs().amax(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / 127
    return ((flat / scale).round() * scale).view_as(weight)


def rounded_activation(x: Tensor) -> Tensor:
    """The nearest values of int8 with the scale and zero point that the range of ``x``, 0 in it, asks for."""
    low, high = (bound.float() for bound in torch.aminmax(x.detach()))
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / 255).clamp(min=torch.finfo(torch.float32).eps)
    zero_point = (-128 - low / scale).round().clamp(-128, 127).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


def _fused(chain: nn.Sequential) -> Iterator[nn.Module]:
    """Parts of a chain whose output never stands in memory."""
    for part, behind in zip(chain, list(chain)[1:]):
        if isinstance(part, LAYERS) and isinstance(behind, (*NORMS, *ACTIVATIONS)):
            yield from part.modules()
        elif isinstance(part, NORMS) and isinstance(behind, ACTIVATIONS):
            yield part


def _round_output(module: nn.Module, inputs: object, output: object) -> object:
    return rounded_activation(output) if isinstance(output, Tensor) and output.is_floating_point() else output


def _round_input(model: nn.Module, inputs: tuple) -> tuple:
    features, *rest = inputs
    return (rounded_activation(features), *rest)
