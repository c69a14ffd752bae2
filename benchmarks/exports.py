"""The best trials of a run and its ensemble as ONNX: difference to torch, size, latency on one core, and what int8 changes.

    python benchmarks/exports.py RUN [--best 10] [--stream]

A Markdown table; one row a model. Latency is the median of 200 inferences of one window, or of one step with --stream.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hpcnas.classifier import Classifier
from hpcnas.core.archive import Archive
from hpcnas.core.units import thousands
from hpcnas.deploy.write import Form, Graph
from hpcnas.export import speech
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

COLUMNS = (
    *("model", "parameters", "torch accuracy", "ONNX accuracy", "largest difference", "torch ms", "ONNX ms", "ONNX kB"),
    *("int8 kB", "int8 ms", "int8 accuracy, points", "answers alike"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--best", type=int, default=10, help="so many of the search's best trials (default 10)")
    parser.add_argument("--stream", action="store_true", help="frame by frame; causal models only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run, form = RunDir(arguments.run), Form(step=0 if arguments.stream else None)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in names(run, arguments.best):
        print(f"| {' | '.join(row(Classifier.open(run, name), form))} |", flush=True)


def names(run: RunDir, best: int) -> Iterator[str]:
    """Of the best trials whose weights are kept, and of the ensemble if there is one."""
    ranking = Archive(record.event for record in replay(run.search.journal)).ranking
    kept = [result.trial for result in ranking if run.search.weights(result.trial).exists()]
    yield from map(str, kept[:best])
    if run.ensemble_file.exists():
        yield "ensemble"


def row(classifier: Classifier, form: Form) -> Iterator[str]:
    graph = Graph.of(classifier, form, speech(classifier))
    with TemporaryDirectory() as folder:
        full = graph.write(Path(folder) / "model.onnx", "onnx")
        small = graph.write_int8(Path(folder) / "model.int8.onnx", full.path)
        sizes = [f"{one.bytes / 1000:.0f}" for one in (full, small)]
    reached, alike = graph.material.reached, (small.logits.argmax(1) == full.logits.argmax(1)).mean()
    yield from (classifier.name, thousands(classifier.params), f"{reached['test_accuracy']:.1%}", f"{full.accuracy:.1%}")
    yield from (f"{full.difference:.1e}", f"{graph.torch_latency_ms:.2f}", f"{full.latency_ms:.3f}", sizes[0])
    yield from (sizes[1], f"{small.latency_ms:.3f}", f"{100 * (small.accuracy - full.accuracy):+.1f}", f"{alike:.1%}")


if __name__ == "__main__":
    main()
