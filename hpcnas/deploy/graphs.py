"""What is exported: modules of tensors alone, from raw log-mel to logits; all that lies behind the filter bank is in them.

Shape letters: ``B`` batch, ``F`` mel bands, ``T`` frames, ``K`` classes, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hpcnas.core.errors import ExportError
from hpcnas.nn.front_end import FrontEnd
from hpcnas.use.classifier import Classifier

LONGEST_STEP = 1000
"""Frames of a step, at most."""


class Features(nn.Module):
    """From raw log-mel to what the models see; a module, so that a converter can tell its operators from the others."""

    mean: Tensor
    std: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self._config = front_end.config
        self.register_buffer("mean", front_end.mean)
        self.register_buffer("std", front_end.std)

    def forward(self, log_mel_BFT: Tensor) -> Tensor:
        """(B, F', T)."""
        return FrontEnd(self._config, self.mean, self.std)(log_mel_BFT)


class Windows(nn.Module):
    """Windows of raw log-mel in, logits out."""

    inputs, outputs = ("log_mel",), ("logits",)

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.features, self.model = Features(classifier.front_end), classifier.model
        self.example = (torch.randn(2, classifier.config.features.bands, classifier.window),)

    def forward(self, log_mel_BFT: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.model(self.features(log_mel_BFT))


@dataclass(frozen=True)
class StateTensor:
    """A part of what a step keeps for the next one: float32 of this shape, in the beginning filled with ``start``."""

    name: str
    shape: tuple[int, ...]
    start: float


class Step(nn.Module):
    """The next frames of raw log-mel and the state in; logits of the newest window and the new state out.

    Args:
        frames: of a step (0: the fewest that are possible); a multiple of what strides make of one output.

    Raises:
        ExportError: if the model cannot be fed frame by frame, or not with so many.
    """

    def __init__(self, classifier: Classifier, frames: int = 0) -> None:
        super().__init__()
        if not classifier.can_listen:
            raise ExportError(
                f'model "{classifier.name}" cannot be fed frame by frame: it takes space.causal = true, and features without '
                "deltas, PCEN and normalisation by utterance or running mean"
            )
        self._windows, self._shares = Windows(classifier), [member.weight for member in classifier.members]
        self._kept = classifier.outputs_of_a_window
        bands = classifier.config.features.bands
        with torch.no_grad():
            leaves, self._form = pytree.tree_flatten(self._start())
            # What is no tensor, such as the phase of a stride, is the same behind every step of the right length.
            self._fixed = [_STATE if _is_state(leaf) else leaf for leaf in leaves]
            # Minus infinity, before the first frames of a maximum, as a number that JSON knows.
            lowest = torch.finfo(torch.float32).min
            self.start = tuple(leaf.clamp(min=lowest) for leaf in leaves if _is_state(leaf))
            shortest = next((n for n in range(1, LONGEST_STEP + 1) if self._repeats(torch.zeros(1, bands, n))), 0)
        if not shortest:
            raise ExportError(f'model "{classifier.name}": steps would need more than {LONGEST_STEP} frames for its strides')
        self.frames = frames or shortest
        if self.frames % shortest:
            raise ExportError(f"steps of {frames} frames: its strides need a multiple of {shortest}")
        self.state = [StateTensor(f"state_{n}", tuple(leaf.shape), float(leaf.max())) for n, leaf in enumerate(self.start)]
        names = tuple(tensor.name for tensor in self.state)
        self.inputs, self.outputs = ("log_mel", *names), ("logits", *(f"new_{name}" for name in names))
        self.example = (torch.randn(1, bands, self.frames), *self.start)

    def forward(self, log_mel_BFT: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """(1, K) logits, and a state of the same shapes."""
        logits, after = self._step(log_mel_BFT, self._unflattened(state))
        # By place: while it is traced, a phase is a tensor too.
        return (logits, *(leaf for leaf, fixed in zip(pytree.tree_leaves(after), self._fixed) if fixed is _STATE))

    def _step(self, log_mel_BFT: Tensor, states: Sequence) -> tuple[Tensor, list]:
        windows, after = self._windows, []
        logits: Any = 0.0
        seen = windows.features(log_mel_BFT)
        for share, kept, model, (outputs, of_tower) in zip(self._shares, self._kept, windows.model.models, states):
            new, of_tower = model.stream_tower(seen, of_tower)
            outputs = torch.cat([outputs, new], -1)[..., -kept:]
            logits = logits + share * model.judge(outputs)
            after.append((outputs, of_tower))
        return logits, after

    def _start(self) -> list:
        nothing = torch.zeros(1, len(self._windows.features.mean), 0)
        towers = [model.stream_tower(nothing) for model in self._windows.model.models]
        return [(outputs.new_zeros(*outputs.shape[:2], kept), state) for kept, (outputs, state) in zip(self._kept, towers)]

    def _unflattened(self, state: Sequence[Tensor]) -> list:
        given = iter(state)
        leaves = [next(given) if leaf is _STATE else leaf for leaf in self._fixed]
        return pytree.tree_unflatten(leaves, self._form)

    def _repeats(self, log_mel_BFT: Tensor) -> bool:
        """Whether steps of so many frames are all alike."""
        leaves, form = pytree.tree_flatten(self._step(log_mel_BFT, self._unflattened(self.start))[1])
        fixed = [_STATE if _is_state(leaf) else leaf for leaf in leaves]
        return form == self._form and all(_same(*pair) for pair in zip(fixed, self._fixed))


_STATE = object()
"""Stands where a tensor of the state belongs."""


def _is_state(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.numel() > 0


def _same(one: Any, other: Any) -> bool:
    return one.shape == other.shape if isinstance(one, Tensor) else one == other
