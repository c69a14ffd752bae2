"""LiteRT files (``.tflite``): conversion, 8-bit integers, and the program that runs them.

Sizes are fixed. The converters talk much, in Python and below it; nothing of that is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hpcnas.core.errors import ExportError
from hpcnas.deploy.files import Run, last_line, silent
from hpcnas.deploy.flatbuffer import ENDS, FRONT_END, as_in, describe_litert, described_bytes, ends_of, of_litert, read, rename
from hpcnas.deploy.graphs import Step, Windows

LOWEST = -1e30
"""States below begin as minus infinity, which has no part in the range of an 8-bit integer."""
CALIBRATION_STEPS = 1000
"""Of streams, by which int8 ranges are found."""
ROUNDS = 5
"""Of quantisation, until every state has one scale."""
_KEY = "serving_default"


def save_litert(path: Path, graph: Windows | Step, fixed: bool, described: Mapping[str, Any], config: str) -> None:
    """Write the graph for one window, or one step, at a time; raises ExportError where it cannot be converted."""
    converter = of_litert("litert_torch")
    example = dict(zip(graph.inputs, (graph.example[0][:1], *graph.example[1:])))
    with TemporaryDirectory() as folder:
        converted = Path(folder) / "model.tflite"
        with silent():
            try:
                converter.convert(_Named(graph).eval(), sample_kwargs=example).export(str(converted))
            except Exception as error:  # whatever three converters in a row may raise
                raise ExportError(f"{path}: LiteRT's converter fails: {last_line(error)}") from error
        model = read(converted.read_bytes())
    rename(model, graph)
    path.write_bytes(described_bytes(model, described, config))


def save_litert_int8(path: Path, full: Path, calibration: Iterable[Sequence[Tensor]], whole: bool) -> None:
    """Write the LiteRT file ``full`` with weights and activations as 8-bit integers.

    A state has the same scale where it comes out as where it goes in: what a step gives is handed to the next as it is.

    Args:
        calibration: inputs of the graph, from which the activations' ranges are taken.
        whole: also the front end, else it is computed in floats, from floats.
    """
    quantizer, recipe = of_litert("ai_edge_quantizer.quantizer"), of_litert("ai_edge_quantizer.recipe")
    managers = of_litert("ai_edge_quantizer.recipe_manager")
    calibrator, extremes = of_litert("ai_edge_quantizer.calibrator"), of_litert("ai_edge_quantizer.utils.qsv_utils")
    types, keys = of_litert("ai_edge_quantizer.qtyping"), of_litert("ai_edge_quantizer.algorithm_manager")
    content = full.read_bytes()
    model = read(content)
    names = ends_of(model, "inputs")
    with silent():
        try:
            rules = managers.RecipeManager()
            rules.load_quantization_recipe(recipe.static_wi8_ai8())
            for regex in () if whole else (f"^{FRONT_END}", "^log_mel"):
                kept = keys.AlgorithmName.NO_QUANTIZE
                rules.add_quantization_config(regex, types.TFLOperationName.ALL_SUPPORTED, algorithm_key=kept)
            # Extremes, where the default is a moving average, by which the last examples would count and the first would not.
            found = calibrator.Calibrator(content, num_threads=1, qsv_update_func=extremes.min_max_update)
            examples = [{name: tensor.numpy() for name, tensor in zip(names, inputs)} for inputs in _telling(calibration)]
            found.calibrate({_KEY: examples}, rules)
            ranges = found.get_model_qsvs()
            _equalise(ranges, names)
            _widen(ranges)
            for _ in range(ROUNDS):
                work = quantizer.Quantizer(content, rules.get_quantization_recipe())
                small = as_in(work.quantize(ranges, enable_progress_report=False).quantized_model, model)
                if not (apart := _apart(small, names)):
                    break
                # Behind a concatenation a state has the range of the whole, whatever its own is.
                for name, (lowest, highest) in apart.items():
                    for end, value in (("min", lowest), ("max", highest)):
                        ranges[name][end] = np.full_like(ranges[name][end], value)
        except Exception as error:  # as above
            raise ExportError(f"{path}: LiteRT's quantiser fails: {last_line(error)}") from error
    if apart:
        raise ExportError(f"{path}: LiteRT's quantiser gives {', '.join(apart)} another scale where it comes out")
    path.write_bytes(small)
    describe_litert(path, {}, "")  # its inputs and outputs have their names now


def describe_litert_int8(path: Path, described: Mapping[str, Any], config: str) -> None:
    """Give a file of 8-bit integers its description, with what they stand for."""
    describe_litert(path, {**described, "quantisation": quantisation(path)}, config)


def litert_run(path: Path) -> Run:
    """The graph in a LiteRT file, run by its interpreter on one core; 8-bit integers are made of floats, and floats of them."""
    opened = interpreter(path)
    inputs, outputs = opened.get_input_details(), opened.get_output_details()

    def run(*tensors: Tensor) -> list[Tensor]:
        for detail, tensor in zip(inputs, tensors):
            opened.set_tensor(detail["index"], _quantised(tensor.contiguous().numpy(), detail))
        opened.invoke()
        return [torch.from_numpy(_dequantised(opened.get_tensor(detail["index"]), detail)) for detail in outputs]

    return run


def interpreter(path: Path) -> Any:
    """LiteRT's interpreter on one core, its tensors allocated."""
    # Not of the file itself, which would have to stay as it is.
    return _opened(path.read_bytes())


def _opened(content: bytes) -> Any:
    module = of_litert("ai_edge_litert.interpreter")
    with silent():
        opened = module.Interpreter(model_content=content, num_threads=1)
        opened.allocate_tensors()
    return opened


def quantisation(path: Path) -> dict[str, dict[str, float | int]]:
    """Of all inputs and outputs that are 8-bit integers: the value is ``scale`` times the integer less ``zero_point``."""
    opened, found = interpreter(path), {}
    for detail in (*opened.get_input_details(), *opened.get_output_details()):
        if detail["dtype"] == np.int8:
            scale, zero_point = detail["quantization"]
            found[detail["name"]] = {"scale": float(scale), "zero_point": int(zero_point)}
    return found


class _Named(nn.Module):
    """A graph whose inputs and outputs are told by name, as LiteRT's converter takes them."""

    def __init__(self, graph: Windows | Step) -> None:
        super().__init__()
        self.module = graph  # not "graph": what torch.export makes of it has a part of that name

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        with _Rewritten():
            outputs = self.module(*(inputs[name] for name in self.module.inputs))
        return dict(zip(self.module.outputs, (outputs,) if isinstance(outputs, Tensor) else outputs))


class _Rewritten(TorchFunctionMode):
    """Operators that are lacking, in terms of those that are there: LiteRT has no sums of 64-bit floats, tflite-micro no power,
    and of 8-bit integers no root but the reciprocal one."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function in (torch.sqrt, Tensor.sqrt):
            return args[0] * args[0].rsqrt()
        if function in (torch.pow, Tensor.pow, Tensor.__pow__) and isinstance(args[0], Tensor) and isinstance(args[1], float):
            return (args[1] * args[0].log()).exp()
        if function is Tensor.__rpow__:
            return (args[0].float() * math.log(args[1])).exp()
        if function is Tensor.double:
            return args[0].float()
        if function is Tensor.std:
            variance = args[0].var(*args[1:], **(kwargs or {}))
            return variance * (variance + 1e-12).rsqrt()
        return function(*args, **(kwargs or {}))


def _telling(calibration: Iterable[Sequence[Tensor]]) -> list[Sequence[Tensor]]:
    """Evenly spread inputs, without those with parts that began as minus infinity and still are."""
    inputs = [one for one in calibration if all(not tensor.numel() or tensor.min() > LOWEST for tensor in one)]
    return inputs[:: 1 + len(inputs) // CALIBRATION_STEPS]


def _equalise(ranges: dict[str, dict[str, np.ndarray]], names: Sequence[str]) -> None:
    """Give each state one range for where it goes in and where it comes out."""
    for name in names:
        pair = [ranges[one] for one in (name, f"new_{name}") if ranges.get(one)]
        if len(pair) == 2:
            for end, extreme in (("min", np.minimum), ("max", np.maximum)):
                pair[0][end] = pair[1][end] = extreme(pair[0][end], pair[1][end])


def _apart(content: bytes, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """States whose scale or zero point is another where they come out, with the range that they have there."""
    opened = _opened(content)
    details = {ends: dict(zip(ends_of(read(content), ends), getattr(opened, f"get_{ends[:-1]}_details")())) for ends in ENDS}
    found = {}
    for name in names[1:]:
        before, after = (details[ends][one]["quantization"] for ends, one in zip(ENDS, (name, f"new_{name}")))
        if before[1] != after[1] or abs(before[0] - after[0]) > 1e-5 * after[0]:
            found[name] = (after[0] * (-128 - after[1]), after[0] * (127 - after[1]))
    return found


def _widen(ranges: dict[str, dict[str, np.ndarray]]) -> None:
    """Give what is always zero, such as a tower that is dead, some range: LiteRT's kernels end the process over one of none."""
    for one in ranges.values():
        if one and "max" in one and max(np.abs(one["min"]).max(), np.abs(one["max"]).max()) < 1e-6:
            one["max"] = np.ones_like(one["max"])


def _quantised(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return np.asarray(values, detail["dtype"])
    scale, zero_point = detail["quantization"]
    return np.asarray(np.clip(np.round(values.astype(np.float64) / scale + zero_point), -128, 127), np.int8)


def _dequantised(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return np.asarray(values)  # of no dimensions it comes as a number
    scale, zero_point = detail["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)
