"""Models of runs in an exported format: difference to torch, size, latency on one core, what int8 changes, and memory.

    python benchmarks/exports.py RUN ... [--format onnx|litert] [--best 10 | --models NAME ...] [--stream]

A Markdown table; one row a model: the ``--best`` trials of each search, its members and its ensemble, or those that are named,
as by ``--model`` of hpcnas.export. Latency is the median of 200 inferences of one window, or of one step with --stream; memory
is what tflite-micro takes for the graph of 8-bit integers, and what the report tells of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hpcnas.core.archive import Archive
from hpcnas.core.units import thousands
from hpcnas.deploy.microcontroller import Unfit
from hpcnas.deploy.write import Feeding, Graph
from hpcnas.export import speech
from hpcnas.judging.footprint import footprints
from hpcnas.store import ensemble_file
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier

COLUMNS = (
    *("run", "model", "parameters", "torch accuracy", "exported", "largest difference", "torch ms", "exported ms", "kB"),
    *("int8 kB", "int8 ms", "int8 accuracy", "points", "answers alike", "memory kB", "told kB"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    parser.add_argument("--format", choices=("onnx", "litert"), default="onnx")
    parser.add_argument("--best", type=int, default=10, help="so many of the search's best trials (default 10)")
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--stream", action="store_true", help="frame by frame; causal models only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    feeding = Feeding(step=0 if arguments.stream else None)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for run in map(RunDir, arguments.runs):
        for name in arguments.models or names(run, arguments.best):
            classifier = Classifier.open(run, name)
            told = told_memory(run, classifier) if arguments.format == "litert" else ""
            cells = run.root.name, *row(classifier, feeding, arguments.format), told
            print(f"| {' | '.join(cells)} |", flush=True)


def names(run: RunDir, best: int) -> Iterator[str]:
    """Of the best trials whose weights are kept, and of the members and the ensemble if there are any."""
    ranking = Archive(record.event for record in replay(run.search.journal)).ranking
    kept = [result.trial for result in ranking if run.search.weights(result.trial).exists()]
    yield from map(str, kept[:best])
    if run.ensemble_file.exists():
        yield from (f"member {number}" for number in range(len(ensemble_file.load(run.ensemble_file).members)))
        yield "ensemble"


def row(classifier: Classifier, feeding: Feeding, format: str) -> Sequence[str]:
    graph = Graph.of(classifier, feeding, speech(classifier))
    with TemporaryDirectory() as folder:
        full = graph.write(Path(folder) / "model", format)
        small = graph.write_int8(Path(folder) / "model.int8", full.path, format)
        sizes = [f"{one.bytes / 1000:.0f}" for one in (full, small)]
        memory = of_memory(graph, small.path) if format == "litert" else ""
    reached, alike = graph.material.reached, (small.logits.argmax(1) == full.logits.argmax(1)).mean()
    return (
        *(classifier.name, thousands(classifier.params), f"{reached['test_accuracy']:.1%}", f"{full.accuracy:.1%}"),
        *(f"{full.difference:.1e}", f"{graph.torch_latency_ms:.2f}", f"{full.latency_ms:.3f}", sizes[0]),
        *(sizes[1], f"{small.latency_ms:.3f}", f"{small.accuracy:.1%}", f"{100 * (small.accuracy - full.accuracy):+.1f}"),
        *(f"{alike:.1%}", memory),
    )


def told_memory(run: RunDir, classifier: Classifier) -> str:
    (told,) = footprints(run, {classifier.name: classifier.architectures})
    return told.lacks or f"{1.024 * told.arena_kb:.1f}"


def of_memory(graph: Graph, path: Path) -> str:
    try:
        return f"{graph.tried_on_micro(path).arena / 1000:.1f}"
    except Unfit as error:
        return str(error)


if __name__ == "__main__":
    main()
