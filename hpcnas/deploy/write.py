"""A model's file in any of the formats, checked before it takes its place."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from hpcnas import config as configuration
from hpcnas.core.errors import ExportError
from hpcnas.deploy import check, executorch, files, flatbuffer, litert, microcontroller
from hpcnas.deploy.description import KEY, description
from hpcnas.deploy.files import Run
from hpcnas.deploy.graphs import Step, Windows
from hpcnas.deploy.speech import Material
from hpcnas.store import model_file
from hpcnas.store.files import replacing
from hpcnas.use.classifier import Classifier


class Int8(NamedTuple):
    """How a second file comes about, of 8-bit integers: from the first, its inputs, and whether the front end is to go too."""

    save: Callable[[Path, Path, Iterable[Sequence[Tensor]], bool], None]
    describe: Callable[[Path, Mapping[str, Any], str], None]


class Format(NamedTuple):
    """What a graph can be written as."""

    suffix: str
    save: Callable[[Path, Windows | Step, bool, Mapping[str, Any], str], None]
    run: Callable[[Path], Run]
    fixed: bool
    """Whether windows are single ones of one length, whatever is asked for."""
    int8: Int8 | None = None
    packages: tuple[str, ...] = ()
    """Modules that it takes."""
    extra: str = ""
    """Of hpcnas, that brings them."""


FORMATS = {
    "onnx": Format(
        ".onnx", files.save_onnx, files.onnx_run, False, Int8(files.save_onnx_int8, files.describe_onnx),
        ("onnx", "onnxruntime"), "export",
    ),
    "litert": Format(
        ".tflite", litert.save_litert, litert.litert_run, True, Int8(litert.save_litert_int8, litert.describe_litert_int8),
        ("litert_torch", "ai_edge_quantizer"), "litert",
    ),
    "executorch": Format(
        ".pte", executorch.save_executorch, executorch.executorch_run, True, packages=("executorch",), extra="executorch"
    ),
    "torchscript": Format(".pt", files.save_torchscript, files.torchscript_run, False),
    "pt2": Format(".pt2", files.save_pt2, files.pt2_run, True),
}  # fmt: skip
INT8 = [name for name, format in FORMATS.items() if format.int8]
"""Formats that have 8-bit integers."""


def ensure_packages(format: str) -> None:
    """Raise ExportError, with the way out, if a package is not installed that one of ``FORMATS`` takes; none is loaded."""
    of = FORMATS[format]
    for name in of.packages:
        if importlib.util.find_spec(name) is None:
            raise ExportError(f"--format {format} needs {name}, which is not installed: pip install 'hpcnas[{of.extra}]'")


@dataclass(frozen=True)
class Feeding:
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
    """A model fed in one way, with what it is tried on."""

    classifier: Classifier
    feeding: Feeding
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
    def of(cls, classifier: Classifier, feeding: Feeding, material: Material) -> Graph:
        """Raises ExportError if the model cannot be fed so."""
        module = Windows(classifier) if feeding.step is None else Step(classifier, feeding.step)
        return cls(classifier, feeding, material, module.eval().requires_grad_(False))

    def write(self, path: Path, format: str) -> Exported:
        """One of ``FORMATS``; raises ExportError, and leaves no file, if the graph says something else than torch."""
        fixed = self._fixed_in(format)
        described = self._described(fixed, self.material.reached), configuration.dump(self.classifier.config)
        with replacing(path) as part:
            FORMATS[format].save(part, self.module, fixed, *described)
            found = self._measured(path, FORMATS[format].run(part), fixed)
            check.agreed(found.difference, str(path))
        return found

    def write_int8(self, path: Path, full: Path, format: str = "onnx") -> Exported:
        """The file ``full``, of a format in ``INT8``, with 8-bit integers; raises ExportError where there is no speech to find
        their ranges in."""
        of, fixed = FORMATS[format], self._fixed_in(format)
        assert of.int8 is not None, format
        with replacing(path) as part:
            of.int8.save(part, full, self._calibration(of.run(full)), self._plain_front_end)
            found = self._measured(path, of.run(part), fixed)
            reached = {} if np.isnan(found.accuracy) else {"test_accuracy": found.accuracy}
            described = {**self._described(fixed, reached), "int8": True}
            of.int8.describe(part, described, configuration.dump(self.classifier.config))
        return found

    def tried_on_micro(self, path: Path) -> microcontroller.Tried:
        """The LiteRT file in tflite-micro; raises ``microcontroller.Unfit`` if that cannot run it."""
        if reason := microcontroller.unfit(self.classifier, self.module):
            raise microcontroller.Unfit(reason)
        run, material = litert.litert_run(path), self.material
        return microcontroller.tried(path, self.module, run, material.windows, material.stream)

    def write_c_array(self, header: Path, path: Path, arena: int) -> microcontroller.Array:
        """The LiteRT file ``path`` as C++ source for tflite-micro, which needs so many bytes of ``arena``."""
        return microcontroller.write_c_array(header, path, self.module, json.loads(flatbuffer.metadata(path)[KEY]), arena)

    @property
    def _plain_front_end(self) -> bool:
        """Whether 8-bit integers are enough for it: a difference and a product, of which all others are more than."""
        features = self.classifier.config.features
        return features.kind in ("log_mel", "micro") and (features.normalisation, features.deltas) == ("corpus", 0)

    def _fixed_in(self, format: str) -> bool:
        """Whether its windows are single ones of one length there."""
        return self.feeding.fixed or FORMATS[format].fixed

    def _described(self, fixed: bool, reached: Mapping[str, float]) -> dict[str, Any]:
        return description(self.classifier, self.module, fixed, reached)

    def _measured(self, path: Path, run: Run, fixed: bool) -> Exported:
        own, material = files.graph_run(self.module), self.material
        if isinstance(self.module, Step):
            logits = material.logits(check.OnSteps(run, self.module))
            difference = check.stream_difference(own, run, self.module, material.stream)
        else:
            logits, of_torch = (material.logits(check.OnWindows(one, fixed)) for one in (run, own))
            difference = check.difference(own, run, material.windows, fixed)
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
