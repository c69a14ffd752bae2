"""What a model costs: trainable parameters, multiply-accumulates, activations."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from hpcnas.core.trial import Cost
from hpcnas.nn.blocks.attention import SelfAttention


def measure(model: nn.Module, bands: int, frames: int) -> Cost:
    """Cost of one example of ``bands`` x ``frames`` features.

    Counted are the multiplications by weights of convolutions, dense and recurrent layers; biases, normalisation (folded
    into them at inference) and activations are not, as in the literature's tables.
    """
    macs = activations = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple) -> None:
        nonlocal macs, activations
        if isinstance(module, SelfAttention):
            macs += module.macs(inputs[0].shape[-1])
            return
        activations += (output[0] if isinstance(output, tuple) else output).numel()
        if isinstance(module, nn.RNNBase):
            weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
            macs += weights * inputs[0].shape[1]
        elif isinstance(module, nn.Linear):
            macs += module.weight.numel() * (output.numel() // output.shape[-1])
        else:
            macs += module.weight.numel() * (output.numel() // output.shape[1])

    weighted = (nn.RNNBase, nn.Linear, nn.Conv1d, nn.Conv2d, SelfAttention)
    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, weighted)]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, bands, frames))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return Cost(sum(p.numel() for p in model.parameters() if p.requires_grad), macs, activations)


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
