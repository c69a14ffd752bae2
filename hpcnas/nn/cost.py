"""What a model costs: trainable parameters, multiply-accumulates, activations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from hpcnas.core.trial import Cost
from hpcnas.nn.blocks.attention import SelfAttention
from hpcnas.nn.model import Model


@dataclass(frozen=True)
class Part:
    """A block, the head or the classifier within a model.

    Args:
        shape: of what it gives for one example: (C, F, T), (C, T) or (C,).
    """

    name: str
    shape: tuple[int, ...]
    cost: Cost


def measure(model: nn.Module, bands: int, frames: int) -> Cost:
    """Cost of one example of ``bands`` x ``frames`` features.

    Counted are the multiplications by weights of convolutions, dense and recurrent layers; biases, normalisation (folded
    into them at inference) and activations are not, as in the literature's tables.
    """
    counts = _counts(model, bands, frames).values()
    return Cost(_trainable(model), sum(macs for macs, _ in counts), sum(activations for _, activations in counts))


def parts(model: Model, bands: int, frames: int) -> list[Part]:
    """What a model is made of, from the features to the logits; the costs add up to ``measure``'s."""
    shapes: dict[str, tuple[int, ...]] = {}
    inside = {
        **{f"blocks.{index}": block for index, block in enumerate(model.blocks)},
        **{f"tail.{index}": block for index, block in enumerate(model.tail)},
        "head": model.head,
        "classifier": model.classifier,
    }
    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
        for name, module in inside.items()
    ]
    counts = _counts(model, bands, frames)
    for hook in hooks:
        hook.remove()
    found = []
    for name, module in inside.items():
        own = [count for layer, count in counts.items() if f"{layer}.".startswith(f"{name}.")]
        macs, activations = (sum(count[which] for count in own) for which in (0, 1))
        found.append(Part(name, shapes[name], Cost(_trainable(module), macs, activations)))
    return found


def _trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _counts(model: nn.Module, bands: int, frames: int) -> dict[str, tuple[int, int]]:
    """Multiply-accumulates and activations of one example, by the name of the layer."""
    counts: dict[str, tuple[int, int]] = {}

    def count(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple) -> None:
        macs, activations = counts.get(name, (0, 0))
        if isinstance(module, SelfAttention):
            counts[name] = (macs + module.macs(inputs[0].shape[-1]), activations)
            return
        activations += (output[0] if isinstance(output, tuple) else output).numel()
        if isinstance(module, nn.RNNBase):
            weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
            macs += weights * inputs[0].shape[1]
        elif isinstance(module, nn.Linear):
            macs += module.weight.numel() * (output.numel() // output.shape[-1])
        else:
            macs += module.weight.numel() * (output.numel() // output.shape[1])
        counts[name] = (macs, activations)

    weighted = (nn.RNNBase, nn.Linear, nn.Conv1d, nn.Conv2d, SelfAttention)
    hooks = [
        module.register_forward_hook(partial(count, name))
        for name, module in model.named_modules()
        if isinstance(module, weighted)
    ]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, bands, frames))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return counts


def latency_ms(model: nn.Module, bands: int, frames: int, device: torch.device, repeats: int = 20) -> float:
    """Median time of one example through ``model``, which is on ``device`` already, after three to warm up."""

    def finished_s() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    was_training = model.training
    model.eval()
    example = torch.zeros(1, bands, frames, device=device)
    took = []
    with torch.no_grad():
        for _ in range(repeats + 3):
            start = finished_s()
            model(example)
            took.append(finished_s() - start)
    model.train(was_training)
    return 1000 * median(took[3:])
