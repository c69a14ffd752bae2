"""tflite-micro, what runs LiteRT graphs on microcontrollers: what it cannot run, a trial of a graph, and its C array.

Shape letters: ``N`` windows or steps, ``K`` classes.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import hpcnas
from hpcnas.core.errors import ExportError
from hpcnas.core.targets import TARGETS
from hpcnas.deploy import check, flatbuffer
from hpcnas.deploy.files import Run
from hpcnas.deploy.graphs import Step, Windows
from hpcnas.store.files import replacing
from hpcnas.use.classifier import Classifier

MOST = 500
"""Windows or steps of a trial."""
LIMIT_S = 120
APART = 0.2
"""Largest difference of a logit to LiteRT's, as a share of the logits' range, that rounding in 8-bit integers explains."""

UNFIT = {(part, "windows"): why for part, why in TARGETS["tflite-micro"].windows.items()}
"""Why tflite-micro cannot run a block, head or front end, by its name and the form (``windows``, ``steps``) of the graph."""
ESPHOME = {
    "Add", "AssignVariable", "AveragePool2D", "CallOnce", "Concatenation", "Conv2D", "DepthwiseConv2D", "FullyConnected",
    "Logistic", "MaxPool2D", "Mean", "Mul", "Pack", "Pad", "Quantize", "ReadVariable", "Reshape", "SplitV", "StridedSlice",
    "VarHandle",
}  # fmt: skip
"""Operators that ESPHome's micro_wake_word registers (streaming_model.cpp, 2024.7 and later); with another it fails."""
MAKERS = {
    "kaldi_fbank": "kaldi-native-fbank makes",
    "micro_frontend": "TensorFlow Lite Micro's front end, whose integers are multiplied by scale, makes",
}


@dataclass(frozen=True)
class Tried:
    """A graph in tflite-micro."""

    arena: int
    """Bytes of working memory, on this processor."""
    difference: float
    """Largest of a logit, to LiteRT's."""
    alike: float
    """Share of answers, in [0, 1]."""


class Array(NamedTuple):
    """A graph as C++ source."""

    header: Path
    source: Path
    bytes: int
    """Of the graph itself."""


class Unfit(ExportError):
    """tflite-micro cannot run a graph; the message is why."""


def is_here() -> bool:
    """tflite-micro is made for Linux on x86-64 only."""
    return importlib.util.find_spec("tflite_micro") is not None


def unfit(classifier: Classifier, graph: Windows | Step) -> str | None:
    """What of a model tflite-micro is known not to run in this form, with the reason; None if nothing is known."""
    form = "steps" if isinstance(graph, Step) else "windows"
    features = classifier.config.features
    parts = [block.kind for architecture in classifier.architectures for block in architecture.blocks]
    parts += [classifier.config.space.head, features.kind, features.normalisation]
    return next((f"{part}: {UNFIT[part, form]}" for part in parts if (part, form) in UNFIT), None)


def no_manifest(path: Path) -> str:
    """Why a stream of 8-bit integers gets no manifest for ESPHome's micro_wake_word, which feeds ``micro`` features."""
    lacking = [operator for operator in flatbuffer.operators(path) if operator not in ESPHOME]
    without = f"it has no {', '.join(lacking)}, and " if lacking else "it "
    return f"{without}wants the state inside of the graph and one probability as its output"


def tried(path: Path, graph: Windows | Step, run: Run, windows_NFT: Tensor, stream_1FT: Tensor) -> Tried:
    """The LiteRT file in tflite-micro and in LiteRT (``run``) on the same input; raises Unfit."""
    if isinstance(graph, Step):
        frames = graph.frames
        inputs = stream_1FT[0, :, : MOST * frames].unfold(-1, frames, frames).transpose(0, 1)
        expected = check.OnSteps(run, graph).stream(torch.cat(list(inputs), -1).unsqueeze(0))
        start = [tensor.numpy() for tensor in graph.start]
    else:
        inputs, start = windows_NFT[:MOST], []
        expected = check.OnWindows(run, fixed=True)(inputs)
    logits, arena = child(path, inputs.numpy(), start)
    difference = float(np.abs(logits - expected.numpy()).max())
    rounded = flatbuffer.is_int8(path)
    limit = APART * float(expected.max() - expected.min()) if rounded else check.TOLERANCE
    if not difference <= limit:
        raise Unfit(f"its logits differ from LiteRT's by up to {difference:.2g}, more than {limit:.2g}")
    return Tried(arena, difference, float((logits.argmax(1) == expected.numpy().argmax(1)).mean()))


def child(path: Path, inputs_NFT: np.ndarray, start: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """(N, K) logits and bytes of arena, by a process of its own; raises Unfit if it fails."""
    with TemporaryDirectory() as folder:
        given, logits = Path(folder) / "inputs.npz", Path(folder) / "logits.npy"
        states: dict[str, Any] = {str(number): tensor for number, tensor in enumerate(start)}
        np.savez(given, log_mel=inputs_NFT, **states)
        command = [sys.executable, "-m", "hpcnas.deploy.micro", str(path.absolute()), str(given), str(logits)]
        # It finds hpcnas where this process has.
        paths = [str(Path(hpcnas.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, env=environment)
        except subprocess.TimeoutExpired as error:
            raise Unfit(f"{len(inputs_NFT)} inputs took more than {LIMIT_S} s") from error
        if done.returncode:
            raise Unfit(_reason(done))
        return np.load(logits), int(re.findall(r"Arena allocation total (\d+) bytes", done.stderr)[-1])


def _reason(done: subprocess.CompletedProcess) -> str:
    """What the interpreter said first, without the file of its source."""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = [re.sub(r"^\S+/(\w+\.\w+:\d+)", r"\1", line) for line in said if not line.startswith(("Traceback", "File "))]
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return f"{said[0][:160]} ({ended})" if said else ended


def write_c_array(header: Path, path: Path, graph: Windows | Step, described: Mapping[str, Any], arena: int) -> Array:
    """The graph in the LiteRT file ``path`` as C++ source, without its description, which the header tells in comments."""
    source, content = header.with_suffix(".cc"), flatbuffer.bare(path)
    name = namespace(header)
    texts = _header(name, content, path, graph, described, arena), _source(header, name, content, described["class_names"])
    for file, text in zip((header, source), texts):
        with replacing(file) as part:
            part.write_text("\n".join(text) + "\n", encoding="utf-8")
    return Array(header, source, len(content))


def namespace(header: Path) -> str:
    """What a header's contents are in: its name, as far as C++ takes it."""
    name = re.sub(r"\W+", "_", header.stem, flags=re.ASCII).strip("_").lower() or "model"
    return f"model_{name}" if name[0].isdigit() else name


def _header(
    name: str, content: bytes, path: Path, graph: Windows | Step, described: Mapping[str, Any], arena: int
) -> Iterator[str]:
    operators, bands, frames = flatbuffer.operators(path), graph.example[0].shape[1], graph.example[0].shape[2]
    classes, scales = described["class_names"], described["quantisation"]
    yield f'// The model "{_plain(described["name"])}" for tflite-micro, written by hpcnas {described["hpcnas"]}.'
    yield "//"
    maker = "micro_frontend" if "micro_frontend" in described else "kaldi_fbank"
    yield f"// Input 0: log-mel, (1, bands, frames) = (1, {bands}, {frames}), as {MAKERS[maker]} it with"
    yield from (f"//   {line}" for line in wrap(json.dumps(described[maker]), 110))
    yield "// Output 0: a logit for each class. Further inputs and outputs are the state: output n goes into input n, as it is,"
    yield "// once all outputs have been read, since inputs lie upon them."
    for one, of in scales.items():
        yield f"// {one}: 8-bit integers, value = {of['scale']:.9g} * (integer - {of['zero_point']})"
    if "log_mel" not in scales:
        yield "// log_mel: 32-bit floats; the front end is computed in floats."
    yield "#pragma once"
    yield "#include <cstddef>"
    yield ""
    yield f"namespace {name} {{"
    yield "extern const unsigned char kGraph[];"
    yield f"constexpr std::size_t kGraphSize = {len(content)};"
    yield f"constexpr std::size_t kArenaSize = {arena};  // where pointers have 64 bits; else a little less"
    yield f"constexpr int kBands = {bands}, kFrames = {frames}, kClasses = {len(classes)};"
    yield "extern const char* const kClassNames[kClasses];"
    yield f"constexpr int kWindowFrames = {described['window']['frames']};  // logits count once so many were fed"
    state = graph.state if isinstance(graph, Step) else []
    starts = ", ".join(f"{tensor.start:.9g}" for tensor in state)
    size = sum(math.prod(tensor.shape) * (1 if tensor.name in scales else 4) for tensor in state)
    yield f"constexpr int kStates = {len(state)};"
    yield f"constexpr std::size_t kStateBytes = {size};  // of all together"
    yield f"constexpr double kStateStart[] = {{{starts or 0}}};  // what fills each in the beginning"
    yield ""
    yield "// The operators that the graph needs, for a tflite::MicroMutableOpResolver<kOperators>."
    yield f"constexpr int kOperators = {len(operators)};"
    yield "template <typename Resolver>"
    yield "void AddOperators(Resolver& resolver) {"
    yield from (f"  resolver.Add{operator}();" for operator in operators)
    yield "}"
    yield f"}}  // namespace {name}"


def _source(header: Path, name: str, content: bytes, classes: Sequence[str]) -> Iterator[str]:
    yield f'#include "{header.name}"'
    yield ""
    yield f"namespace {name} {{"
    yield "alignas(16) const unsigned char kGraph[] = {"
    for first in range(0, len(content), 20):
        yield "  " + ", ".join(f"0x{byte:02x}" for byte in content[first : first + 20]) + ","
    yield "};"
    yield f"const char* const kClassNames[kClasses] = {{{', '.join(map(_literal, classes))}}};"
    yield f"}}  // namespace {name}"


def _literal(text: str) -> str:
    """In UTF-8, all but plain letters as octal numbers."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode()) + '"'


def _plain(text: str) -> str:
    """On one line, and with no backslash that would draw the next one into a comment."""
    return re.sub(r"[\s\\]+", " ", text)
