"""A model's file in any of the formats, checked before it takes its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hpcnas import config as configuration
from hpcnas.classifier import Classifier
from hpcnas.deploy import check, files
from hpcnas.deploy.description import description
from hpcnas.deploy.files import Run
from hpcnas.deploy.graphs import Step, Windows
from hpcnas.deploy.speech import Material
from hpcnas.store import model_file
from hpcnas.store.files import replacing


@dataclass(frozen=True)
class Form:
    """How a graph is to be fed.

    Args:
        fixed: single windows of one length only.
        step: None: windows; else frames of a step, state in and state out (0: the fewest possible).
    """

    fixed: bool = False
    step: int | None = None


@dataclass(frozen=True)
class Exported:
    """A file and what was measured of it; NaN where nothing could be."""

    path: Path
    difference: float
    """Largest of a logit, to torch's."""
    accuracy: float
    """On the test split, in [0, 1]."""
    latency_ms: float
    """Median time of one window, or one step, on one core."""
    logits: np.ndarray = field(repr=False)
    """(N, K) of the test split; N is 0 where there is none."""

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True)
class Graph:
    """A model in one form, with what it is tried on."""

    classifier: Classifier
    form: Form
    material: Material
    module: Windows | Step

    @property
    def example(self) -> tuple[Tensor, ...]:
        """Inputs of one window or step."""
        log_mel, *state = self.module.example
        return (log_mel[:1], *state)

    @property
    def torch_latency_ms(self) -> float:
        """Of torch itself."""
        return check.latency_ms(files.graph_run(self.module), self.example)

    @classmethod
    def of(cls, classifier: Classifier, form: Form, material: Material) -> Graph:
        """Raises ExportError if the model has no such form."""
        module = Windows(classifier) if form.step is None else Step(classifier, form.step)
        return cls(classifier, form, material, module.eval().requires_grad_(False))

    def write(self, path: Path, format: str) -> Exported:
        """``onnx`` or ``torchscript``; raises ExportError, and leaves no file, if the graph says something else than torch."""
        described = self._described(self.material.reached), configuration.dump(self.classifier.config)
        with replacing(path) as part:
            if format == "onnx":
                files.save_onnx(part, self.module, self.form.fixed, *described)
                run = files.onnx_run(part)
            else:
                files.save_torchscript(part, self.module, *described)
                run = files.torchscript_run(part)
            found = self._measured(path, run)
            check.agreed(found.difference, str(path))
        return found

    def write_int8(self, path: Path, full: Path) -> Exported:
        """The ONNX file ``full`` with 8-bit integers; raises ExportError where there is no speech to find their ranges in."""
        with replacing(path) as part:
            files.save_int8(part, full, self._calibration(files.onnx_run(full)))
            found = self._measured(path, files.onnx_run(part))
            reached = {} if np.isnan(found.accuracy) else {"test_accuracy": found.accuracy}
            described = self._described(reached) | {"int8": True}
            files.describe_onnx(part, described, configuration.dump(self.classifier.config))
        return found

    def _described(self, reached: Mapping[str, float]) -> dict[str, Any]:
        return description(self.classifier, self.module, self.form.fixed, reached)

    def _measured(self, path: Path, run: Run) -> Exported:
        own, material = files.graph_run(self.module), self.material
        if isinstance(self.module, Step):
            logits = material.logits(check.OnSteps(run, self.module))
            difference = check.stream_difference(own, run, self.module, material.stream)
        else:
            logits, of_torch = (material.logits(check.OnWindows(one, self.form.fixed)) for one in (run, own))
            difference = check.difference(own, run, material.windows, self.form.fixed)
            difference = max(difference, float(np.abs(logits - of_torch).max(initial=0)))
        return Exported(path, difference, material.accuracy(logits), check.latency_ms(run, self.example), logits)

    def _calibration(self, run: Run) -> Iterator[Sequence[Tensor]]:
        windows = self.material.calibration()
        if isinstance(self.module, Step):
            steps = check.OnSteps(run, self.module)
            return (inputs for window in windows.split(1) for inputs, _ in steps.steps(window))
        return ((window,) for window in windows.split(1))


def write_model(path: Path, classifier: Classifier, material: Material) -> Exported:
    """``state_dict``: what ``Classifier.read`` takes; it is read again, and must be the same."""
    with replacing(path) as part:
        model_file.save(part, classifier.as_file(material.reached))
        again = files.graph_run(Windows(Classifier.read(part)))
        own = files.graph_run(Windows(classifier))
        difference = check.difference(own, again, material.windows, fixed=False)
        check.agreed(difference, str(path))
    logits = material.logits(check.OnWindows(again, False))
    return Exported(path, difference, material.accuracy(logits), float("nan"), logits)
