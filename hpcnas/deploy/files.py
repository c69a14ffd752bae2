"""The files of exported graphs, and programs that run them: ONNX (and its int8 form), TorchScript and torch.export's programs.

A ``Run`` takes and gives tensors as the graph does. Everything runs on one core.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import torch
from torch import Tensor

from hpcnas.core.errors import ExportError
from hpcnas.deploy.description import CONFIG_KEY, KEY
from hpcnas.deploy.graphs import Step, Windows

Run = Callable[..., Sequence[Tensor]]

OPSET = 18
"""Version of ONNX' operators: onnxruntime 1.14 and later know it."""
QUANTISED = ("Conv", "MatMul", "Gemm")
"""Operators that int8 is used for. Recurrences stay as they are: onnxruntime has no int8 kernels for GRU and RNN."""


def save_onnx(path: Path, graph: Windows | Step, fixed: bool, described: Mapping[str, Any], config: str) -> None:
    """Write the graph; with ``fixed`` for single windows of one length, else for any number of any length."""
    axes = {} if fixed or isinstance(graph, Step) else {"log_mel": {0: "batch", 2: "frames"}, "logits": {0: "batch"}}
    example = tuple(tensor[:1] if fixed else tensor for tensor in graph.example[:1]) + graph.example[1:]
    with quiet():
        # The older exporter, by tracing: over all blocks it takes 0.1 s a model, and any batch and length go in. That by
        # torch.export (torch 2.13) takes 2 to 35 s, and fixes the batch of recurrences behind convolutions.
        torch.onnx.export(
            graph, example, str(path), dynamo=False, opset_version=OPSET, dynamic_axes=axes,
            input_names=list(graph.inputs), output_names=list(graph.outputs),
        )  # fmt: skip
    describe_onnx(path, described, config)


def describe_onnx(path: Path, described: Mapping[str, Any], config: str) -> None:
    """Give a graph its description in place of what metadata it has."""
    onnx = needed("onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: json.dumps(described), CONFIG_KEY: config})
    model.producer_name = "hpcnas"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def save_torchscript(path: Path, graph: Windows | Step, fixed: bool, described: Mapping[str, Any], config: str) -> None:
    """Write the graph as traced; its description is the extra file ``hpcnas.json``, beside ``config.toml``."""
    with quiet():
        traced = torch.jit.trace(graph, graph.example, check_trace=False)
        traced.save(str(path), _extra_files={"hpcnas.json": json.dumps(described), "config.toml": config})


def save_pt2(path: Path, graph: Windows | Step, fixed: bool, described: Mapping[str, Any], config: str) -> None:
    """Write the graph as torch.export has it, for one window, or one step, at a time; described as in TorchScript files."""
    example = (graph.example[0][:1], *graph.example[1:])
    extra = {"hpcnas.json": json.dumps(described), "config.toml": config}
    with quiet(), path.open("wb") as file:
        torch.export.save(torch.export.export(graph, example), file, extra_files=extra)


def save_onnx_int8(path: Path, full: Path, calibration: Iterable[Sequence[Tensor]], whole: bool) -> None:
    """Write the ONNX file ``full`` with weights and activations of its convolutions and matrix products as 8-bit integers.

    Args:
        calibration: inputs of the graph, from which the activations' ranges are taken.
        whole: of no account: all else stays in floats, the front end and the rest.
    """
    quantization = needed("onnxruntime.quantization")
    preprocess = needed("onnxruntime.quantization.preprocess")
    names = [one.name for one in session(full).get_inputs()]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined] # it is loaded here alone
        def __init__(self) -> None:
            self._inputs: Iterator[Sequence[Tensor]] = iter(calibration)

        def get_next(self) -> dict | None:
            tensors = next(self._inputs, None)
            return None if tensors is None else {name: tensor.numpy() for name, tensor in zip(names, tensors)}

    with TemporaryDirectory() as folder, quiet():
        simplified = Path(folder) / "simplified.onnx"
        # Symbolic shape inference gives up on graphs of any length; the usual one is enough.
        preprocess.quant_pre_process(full, simplified, skip_symbolic_shape=True)
        # Weights of 7 bits: products of 8 overflow in processors without VNNI, and accuracy fell from 77 % to 51 %.
        quantization.quantize_static(
            simplified, path, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True, reduce_range=True,
            op_types_to_quantize=list(QUANTISED),
        )  # fmt: skip


def onnx_run(path: Path) -> Run:
    """The graph in an ONNX file, run by onnxruntime."""
    opened = session(path)
    names = [one.name for one in opened.get_inputs()]

    def run(*tensors: Tensor) -> list[Tensor]:
        return [torch.from_numpy(y) for y in opened.run(None, {n: t.contiguous().numpy() for n, t in zip(names, tensors)})]

    return run


def torchscript_run(path: Path) -> Run:
    """The graph in a TorchScript file."""
    with quiet():
        return graph_run(torch.jit.load(str(path)))


def pt2_run(path: Path) -> Run:
    """The program in a file of torch.export."""
    with quiet(), path.open("rb") as file:
        return graph_run(torch.export.load(file).module())


def graph_run(graph: torch.nn.Module) -> Run:
    """The graph itself, run by torch."""

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        with torch.inference_mode():
            outputs = graph(*tensors)
        return (outputs,) if isinstance(outputs, Tensor) else outputs

    return run


def session(path: Path) -> Any:
    """An onnxruntime session on one core."""
    onnxruntime = needed("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def needed(name: str, format: str = "onnx", extra: str = "export") -> Any:
    """The optional module ``name``; raises ExportError with the way to get it."""
    try:
        with silent():
            return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(f"--format {format} needs {name} ({error}): pip install 'hpcnas[{extra}]'") from error


def last_line(error: Exception) -> str:
    """What a converter's error says in the end, and what kind it is."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()[:200]}" if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of tracing, whose results are compared at several lengths, and the tools' own advertisements."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def silent() -> Iterator[None]:
    """Without a word on standard output and error, of Python's or of libraries below it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with TemporaryFile() as nowhere, quiet():
        streams = sys.stdout, sys.stderr
        try:
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
            # Streams that are no descriptors, in notebooks.
            with open(os.devnull, "w") as sink:
                sys.stdout = sys.stderr = sink
                yield
        finally:
            sys.stdout, sys.stderr = streams
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
