"""A model that leaves hpcnas: for onnxruntime, phones, microcontrollers, torch alone, or as one file for evaluate and detect.

    python -m hpcnas.export RUN [--model ensemble|best|"member N"|student|TRIAL]
                            [--format onnx|litert|executorch|torchscript|pt2|state_dict] [--out FILE]
                            [--fixed | --stream [--step FRAMES]] [--int8]
                            [--data FOLDER | --no-corpus]

RUN may also be a model that was exported as ``state_dict``. All other formats hold a graph from raw log-mel to logits, compared
with torch on the test split before it is kept; docs/deploy.md says how to use them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import torch

from hpcnas import config as configuration
from hpcnas.core.errors import DataError, ExportError
from hpcnas.deploy import microcontroller
from hpcnas.deploy.check import TOLERANCE
from hpcnas.deploy.speech import Material, Noise, Speech
from hpcnas.deploy.write import FORMATS, INT8, Exported, Feeding, Graph, ensure_packages, write_model
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.showing.terminal import outer_edge
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import MODEL_NAMES, Classifier, opened

SUFFIXES = {name: format.suffix for name, format in FORMATS.items()} | {"state_dict": ".h5"}


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.export", description="Write a model for use elsewhere.")
    parser.add_argument("run", type=Path, help="run directory, or a model exported as state_dict")
    parser.add_argument("--model", help=MODEL_NAMES)
    parser.add_argument("--format", default="onnx", choices=SUFFIXES, help="onnx (default)")
    parser.add_argument("--out", type=Path, help="file to write (default: below RUN/export)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--fixed", action="store_true", help="single windows of one length only, for devices that must know it")
    form.add_argument("--stream", action="store_true", help="frame by frame, state in and state out; causal models only")
    parser.add_argument("--step", type=int, default=0, help="frames of a step of --stream (default: the fewest possible)")
    parser.add_argument("--int8", action="store_true", help=f"a second file of 8-bit integers ({', '.join(INT8)})")
    material = parser.add_mutually_exclusive_group()
    material.add_argument("--data", help="where the corpus is now (data.path)")
    material.add_argument("--no-corpus", action="store_true", help="compare on noise and tell no accuracy, where no corpus is")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    for line in export(arguments):
        print(line, flush=True)


def export(arguments: argparse.Namespace) -> Iterator[str]:
    """Write the files and say what came of it."""
    if arguments.step < 0 or (arguments.step and not arguments.stream):
        raise ExportError(f"--step {arguments.step}: frames of a step of --stream, at least 1")
    if arguments.int8 and arguments.format not in INT8:
        raise ExportError(f"--int8: not with --format {arguments.format}; {' and '.join(INT8)} have it")
    if arguments.format == "state_dict" and (arguments.fixed or arguments.stream):
        raise ExportError("--format state_dict: is no graph, and has neither --fixed nor --stream; it can do both")
    if arguments.int8 and arguments.no_corpus:
        raise ExportError("--int8 --no-corpus: the ranges of 8-bit integers are found in the training split; see --data")
    if arguments.format != "state_dict":
        ensure_packages(arguments.format)
    classifier = opened(arguments.run, arguments.model)
    material = Noise(classifier) if arguments.no_corpus else speech(classifier, arguments.data)
    feeding = Feeding(arguments.fixed, arguments.step if arguments.stream else None)
    path = arguments.out or default_path(arguments.run, classifier, arguments.format, feeding)
    ensure_writable(path)
    if arguments.format == "state_dict":
        yield from told(write_model(path, classifier, material), material)
        return
    graph = Graph.of(classifier, feeding, material)
    full = graph.write(path, arguments.format)
    yield from told(full, material)
    unit = "window" if feeding.step is None else f"step of {graph.module.frames} frames"
    yield f"  {full.latency_ms:.3g} ms for one {unit} on one core; torch {graph.torch_latency_ms:.3g} ms"
    if arguments.format == "litert":
        yield from on_micro(graph, full)
    if arguments.int8:
        small = graph.write_int8(path.with_suffix(f".int8{SUFFIXES[arguments.format]}"), path, arguments.format)
        yield f"{small.path}: {kilobytes(small)}, {full.bytes / small.bytes:.1f} times smaller"
        alike = (small.logits.argmax(1) == full.logits.argmax(1)).mean()
        change = 100 * (small.accuracy - full.accuracy)
        yield f"  test accuracy {small.accuracy:.2%}, {change:+.2f} points; {alike:.1%} of the answers alike"
        yield f"  {small.latency_ms:.3g} ms for one {unit}"
        if arguments.format == "litert":
            yield from on_micro(graph, small, path.with_suffix(".h"))
            yield from on_esphome(graph, small)


def on_micro(graph: Graph, exported: Exported, header: Path | None = None) -> Iterator[str]:
    """What becomes of a LiteRT file on microcontrollers; with ``header`` it is also written as a C array if it runs there."""
    if not microcontroller.is_here():
        yield "  not tried in tflite-micro, which is not here: pip install 'hpcnas[litert]' on Linux, x86-64"
        return
    try:
        tried = graph.tried_on_micro(exported.path)
    except microcontroller.Unfit as reason:
        yield f"  tflite-micro cannot run it: {reason}"
        return
    yield f"  tflite-micro needs {tried.arena / 1000:.1f} kB of memory; {tried.alike:.1%} of its answers are LiteRT's"
    if header:
        array = graph.write_c_array(header, exported.path, tried.arena)
        yield f"{array.header}, {array.source.name}: the same as a C array, {array.bytes / 1000:.1f} kB of flash"


def on_esphome(graph: Graph, exported: Exported) -> Iterator[str]:
    """Why a stream of what ESPHome's front end gives has no manifest for it; of other graphs nobody would expect one."""
    if graph.feeding.step is not None and graph.classifier.config.features.kind == "micro":
        yield f"no manifest for ESPHome's micro_wake_word: {microcontroller.no_manifest(exported.path)}; see docs/deploy.md"


def told(exported: Exported, material: Material) -> Iterator[str]:
    yield f"{exported.path}: {kilobytes(exported)}"
    difference, limit = f"{exported.difference:.2g}", f"an error above {TOLERANCE:g}"
    yield f"  largest difference of a logit to torch's on {material.name}: {difference} ({limit})"
    if "test_accuracy" in (reached := material.reached):
        yield f"  test accuracy {exported.accuracy:.2%}; in hpcnas {reached['test_accuracy']:.2%}"


def kilobytes(exported: Exported) -> str:
    return f"{exported.bytes / 1000:.0f} kB"


def speech(classifier: Classifier, data: str | None = None) -> Speech:
    """The corpus of the model's run, which is at ``data`` now; raises ExportError if it is not to be had."""
    overrides = configuration.elsewhere(classifier.config.data, data) if data else []
    config = configuration.parsed(configuration.dump(classifier.config), "--data", overrides)
    try:
        corpus = load_corpus(SoloWorld(), config, classifier.front_end)
    except DataError as error:
        raise ExportError(f"{error}; --data names another place, --no-corpus goes without") from error
    if list(corpus.class_names) != list(classifier.class_names):
        raise ExportError(f"the corpus has other classes than the model: {', '.join(corpus.class_names)}; see --data")
    return Speech(replace(classifier, config=config), corpus)


def ensure_writable(path: Path) -> None:
    """Raise ExportError unless a file can be made there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror}); choose another place with --out") from error
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; name a file with --out")


def default_path(run: Path, classifier: Classifier, format: str, feeding: Feeding) -> Path:
    """Below ``export`` in the run's directory, or beside the file that was given."""
    shape = "-stream" if feeding.step is not None else "-fixed" if feeding.fixed else ""
    if run.is_file():
        return run.with_name(f"{run.stem}{shape}{SUFFIXES[format]}")
    return RunDir(run).exported(f"{classifier.name}{shape}{SUFFIXES[format]}")


if __name__ == "__main__":
    main()
