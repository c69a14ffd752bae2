"""ExecuTorch programs (``.pte``) for its XNNPACK backend: conversion, and the program that runs them.

Sizes are fixed. What XNNPACK has no kernel for is left to ExecuTorch's portable ones. The description goes into the file as
methods that return a string, which every binding of ExecuTorch's runtime can call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpcnas.core.errors import ExportError
from hpcnas.deploy.description import CONFIG_KEY, KEY
from hpcnas.deploy.files import Run, last_line, needed, silent
from hpcnas.deploy.graphs import Step, Windows

of_executorch = partial(needed, format="executorch", extra="executorch")
"""A module of ExecuTorch's."""


def save_executorch(path: Path, graph: Windows | Step, fixed: bool, described: Mapping[str, Any], config: str) -> None:
    """Write the graph for one window, or one step, at a time; raises ExportError where it cannot be converted."""
    exir, xnnpack = of_executorch("executorch.exir"), of_executorch("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    example = (graph.example[0][:1], *graph.example[1:])
    about = {KEY: json.dumps(described), CONFIG_KEY: config}
    with silent():
        try:
            lowered = exir.to_edge_transform_and_lower(
                torch.export.export(graph, example), partitioner=[xnnpack.XnnpackPartitioner()], constant_methods=about
            )
            content = lowered.to_executorch().buffer
        except Exception as error:  # whatever two converters in a row may raise
            raise ExportError(f"--format executorch: ExecuTorch cannot convert this model: {last_line(error)}") from error
    path.write_bytes(content)


def executorch_run(path: Path) -> Run:
    """The graph in an ExecuTorch file, run by its runtime on one core."""
    program = Program(path)

    def run(*tensors: Tensor) -> list[Tensor]:
        return program("forward", *(tensor.contiguous() for tensor in tensors))

    return run


def metadata(path: Path) -> dict[str, str]:
    """Description (JSON) and configuration (TOML) of an ExecuTorch file, under their keys."""
    program = Program(path)
    return {key: program(key)[0] for key in (KEY, CONFIG_KEY)}


class Program:
    """What is in an ExecuTorch file, in its runtime; a call raises ExportError where that lacks what the method takes."""

    def __init__(self, path: Path) -> None:
        runtime, bindings = of_executorch("executorch.runtime"), of_executorch("executorch.extension.pybindings.portable_lib")
        with silent():
            bindings._unsafe_reset_threadpool(1)  # else a program takes all cores; unsafe while another runs, which none does
            # Of the file's content: the file itself is moved. Kept, since methods do not keep the memory that they lie in.
            self._program = runtime.Runtime.get().load_program(path.read_bytes())
        self._methods: dict[str, Any] = {}

    def __call__(self, name: str, *tensors: Tensor) -> list[Any]:
        if name not in self._methods:
            with silent():
                try:
                    self._methods[name] = self._program.load_method(name)
                except RuntimeError as error:
                    reason = f"ExecuTorch's runtime cannot run this model: {last_line(error)}"
                    raise ExportError(f"--format executorch: {reason}") from error
        return self._methods[name].execute(list(tensors))
