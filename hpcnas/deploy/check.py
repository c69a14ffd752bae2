"""Whether an exported graph says what hpcnas says, and what it costs.

Shape letters: ``B`` batch, ``F`` mel bands, ``T`` frames, ``S`` steps, ``K`` classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpcnas.core.errors import ExportError
from hpcnas.deploy.files import Run
from hpcnas.deploy.graphs import Step

TOLERANCE = 1e-4
"""Largest difference of a logit between torch and an exported graph of 32-bit floats that is no error."""


class OnWindows(nn.Module):
    """A run of windows as a module that ``Trainer.evaluate`` can judge."""

    def __init__(self, run: Run, fixed: bool) -> None:
        super().__init__()
        self._run, self._fixed = run, fixed

    def forward(self, log_mel_BFT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """(B, K) logits. Short recordings go in without their padding; a graph of fixed length takes it for speech."""
        if lengths_B is not None and not self._fixed:
            return torch.cat([self._run(one[..., :length])[0] for one, length in zip(log_mel_BFT.split(1), lengths_B)])
        return torch.cat([self._run(part)[0] for part in log_mel_BFT.split(1 if self._fixed else len(log_mel_BFT))])


class OnSteps(nn.Module):
    """The same for a run of steps: each window is fed from the start, its last frame repeated to whole steps."""

    def __init__(self, run: Run, step: Step) -> None:
        super().__init__()
        self._run, self._start, self._frames = run, step.start, step.frames

    def forward(self, log_mel_BFT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """(B, K) logits of the last step."""
        whole = functional.pad(log_mel_BFT, (0, -log_mel_BFT.shape[-1] % self._frames), mode="replicate")
        return torch.cat([self.stream(one)[-1:] for one in whole.split(1)])

    def stream(self, log_mel_1FT: Tensor) -> Tensor:
        """(S, K) logits after every whole step."""
        return torch.cat([outputs[0] for _, outputs in self.steps(log_mel_1FT)])

    def steps(self, log_mel_1FT: Tensor) -> Iterator[tuple[Sequence[Tensor], Sequence[Tensor]]]:
        """Inputs and outputs of every whole step."""
        state: Sequence[Tensor] = self._start
        for first in range(0, log_mel_1FT.shape[-1] - self._frames + 1, self._frames):
            inputs = (log_mel_1FT[..., first : first + self._frames], *state)
            outputs = self._run(*inputs)
            yield inputs, outputs
            state = outputs[1:]


def difference(one: Run, other: Run, windows_BFT: Tensor, fixed: bool) -> float:
    """Largest difference of a logit on these windows; where any length goes in, also on halves and pairs of them."""
    pair = [OnWindows(run, fixed) for run in (one, other)]
    inputs = [windows_BFT]
    if not fixed:
        half = max(1, windows_BFT.shape[-1] // 2)
        inputs += [windows_BFT[:1], windows_BFT[..., :half], torch.cat([windows_BFT, windows_BFT.flip(0)], -1)]
    return max(_largest(*(judge(x) for judge in pair)) for x in inputs)


def stream_difference(one: Run, other: Run, step: Step, log_mel_1FT: Tensor) -> float:
    """Largest difference of a logit at any step of a stream."""
    return _largest(*(OnSteps(run, step).stream(log_mel_1FT) for run in (one, other)))


def agreed(found: float, what: str) -> float:
    """``found`` if it is within the tolerance; raises ExportError."""
    if not found <= TOLERANCE:
        raise ExportError(f"{what}: logits differ from torch's by up to {found:.2g}, more than {TOLERANCE:g}; nothing was kept")
    return found


def latency_ms(run: Run, inputs: Sequence[Tensor], repeats: int = 200, limit_s: float = 5.0) -> float:
    """Median time of one call, after a tenth as many to warm up; of fewer calls where those take longer than ``limit_s``."""
    took: list[float] = []
    begin = time.perf_counter()
    while len(took) < repeats + repeats // 10 and (len(took) < 5 or time.perf_counter() - begin < limit_s):
        start = time.perf_counter()
        run(*inputs)
        took.append(time.perf_counter() - start)
    return 1000 * float(median(took[len(took) // 10 :]))


def _largest(one: Tensor, other: Tensor) -> float:
    return float(np.abs(one.numpy() - other.numpy()).max())
