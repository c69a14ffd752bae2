"""What a model costs: trainable parameters, multiply-accumulates, activations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.targets import TARGETS
from hpcnas.core.trial import Cost
from hpcnas.nn.blocks.attention import SelfAttention
from hpcnas.nn.blocks.utterance import AttentionPool
from hpcnas.nn.folding import folded
from hpcnas.nn.model import Model, Surroundings, build_block, build_ending, merged
from hpcnas.nn.on_device import Steps, Windows, figures


def measure(model: nn.Module, bands: int, frames: int) -> Cost:
    """Cost of one example of ``bands`` x ``frames`` features.

    Counted are the multiplications by weights of convolutions, dense and recurrent layers; biases, normalisation (folded
    into them at inference) and activations are not, as in the literature's tables.
    """
    return _counted(model, torch.zeros(1, bands, frames))[0]


@dataclass(frozen=True)
class Part:
    """A block, the head or the classifier within a model.

    Args:
        shape: of what it gives for one example: (C, F, T), (C, T) or (C,).
    """

    name: str
    shape: tuple[int, ...]
    cost: Cost


def parts(model: Model, bands: int, frames: int) -> list[Part]:
    """What a model is made of, from the features to the logits; the costs add up to ``measure``'s."""
    towers = {"blocks": model.blocks, "tail": model.tail}
    tower = {f"{name}.{index}": block for name, of in towers.items() for index, block in enumerate(of)}
    found, x = [], torch.zeros(1, bands, frames)
    for name, module in {**tower, "head": model.head, "classifier": model.classifier}.items():
        cost, x = _counted(module, merged(x) if name == "head" else x)
        found.append(Part(name, tuple(x.shape[1:]), cost))
    return found


class CostTable:
    """Costs of towers, put together from those of their parts.

    What a block costs depends on its input's shape alone, so that each is built and measured once per shape; rank 0 would
    otherwise build every model that anybody trains. Equal to ``measure`` of the whole model, with flash, arena and time beside
    it where there is a target.
    """

    def __init__(self, around: Surroundings, frames: int) -> None:
        self._around, self._frames = around, frames
        self._target = TARGETS[around.target] if around.target else None
        self._device = (Steps if around.causal else Windows)(around, frames) if around.target else None
        self._blocks: dict[tuple[Block, tuple[int, ...]], tuple[Cost, tuple[int, ...]]] = {}
        self._endings: dict[tuple[int, ...], Cost] = {}

    def measure(self, architecture: Architecture) -> Cost:
        """Cost of one example; raises ArchitectureError if a block cannot follow the one before, or not run on the target."""
        if self._target and (objection := self._target.objection(architecture, self._around.causal)):
            raise ArchitectureError(f"{architecture}: {self._around.target} cannot run {objection}")
        shape: tuple[int, ...] = (self._around.bands, self._frames)
        params = macs = activations = 0
        try:
            for block in (*architecture.blocks, *self._around.tail):
                if (block, shape) not in self._blocks:
                    self._blocks[block, shape] = self._of_block(block, shape)
                cost, shape = self._blocks[block, shape]
                params, macs, activations = params + cost.params, macs + cost.macs, activations + cost.activations
            if shape not in self._endings:
                self._endings[shape] = self._of_ending(shape)
            on_device = self._on_device((*architecture.blocks, *self._around.tail))
        except (RuntimeError, ValueError) as error:
            raise ArchitectureError(f"{architecture}: cannot be built: {str(error).splitlines()[0]}") from error
        ending = self._endings[shape]
        return Cost(params + ending.params, macs + ending.macs, activations + ending.activations, **on_device)

    def _on_device(self, blocks: Sequence[Block]) -> dict[str, float]:
        return figures(self._device.parts(blocks), self._around.microcontroller) if self._device else {}

    def _of_block(self, block: Block, shape: tuple[int, ...]) -> tuple[Cost, tuple[int, ...]]:
        with torch.random.fork_rng(devices=[]):
            module, _ = build_block(block, shape[:-1], self._around.causal)
        cost, output = _counted(module, torch.zeros(1, *shape))
        return cost, tuple(output.shape[1:])

    def _of_ending(self, shape: tuple[int, ...]) -> Cost:
        with torch.random.fork_rng(devices=[]):
            head, classifier = build_ending(self._around, shape[:-1])
        return _counted(nn.Sequential(head, classifier), merged(torch.zeros(1, *shape)))[0]


def _counted(module: nn.Module, example: Tensor) -> tuple[Cost, Tensor]:
    """What a module costs on an example once it is trained, and what it makes of it."""
    module = folded(module)
    macs = activations = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple) -> None:
        nonlocal macs, activations
        if isinstance(module, (SelfAttention, AttentionPool)):
            macs += module.macs(inputs[0].shape[-1])
            return
        made = output[0] if isinstance(output, tuple) else output
        activations += made.numel()
        if isinstance(module, nn.RNNBase):
            weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
            macs += weights * inputs[0].shape[1]
        elif isinstance(module, nn.Linear):
            macs += module.weight.numel() * (made.numel() // made.shape[-1])
        else:
            macs += module.get_parameter("weight").numel() * (made.numel() // made.shape[1])

    weighted = (nn.RNNBase, nn.Linear, nn.Conv1d, nn.Conv2d, SelfAttention, AttentionPool)
    hooks = [part.register_forward_hook(count) for part in module.modules() if isinstance(part, weighted)]
    was_training = module.training
    module.eval()
    with torch.no_grad():
        output = module(example)
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    return Cost(sum(p.numel() for p in module.parameters() if p.requires_grad), macs, activations), output


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


def core_latency_ms(model: nn.Module, bands: int, frames: int) -> float:
    """The same on one core of this machine's CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return latency_ms(model, bands, frames, torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
