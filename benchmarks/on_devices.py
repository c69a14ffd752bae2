"""The searched model under a microcontroller's limits against small ones that experts drew by hand, all in 8-bit integers.

    tools/with_env.sh .venv python benchmarks/on_devices.py benchmarks/arsc12.toml --set data.path=FOLDER \
        --set ensemble.epochs=20 --limits 32/16 64/32 --rivals SparkNet-16 TENet6-narrow --folder /tmp/on-devices

A limit is kB of flash / kB of working memory. For each of them and each of ``--seeds``: a search and its finals, whose
trainings are quantised (``ensemble.quantised``). The rivals are trained once with each seed, in the same way, whatever they
take. Runs of one process, as many at a time as ``--jobs``. What is in the folder is not run again. Prints a Markdown table:
test accuracy in LiteRT of the same weights in floats and in integers, flash in units of 1024 bytes, and what tflite-micro
takes, in thousands.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from by_hand import program
from exports import of_memory

from hpcnas.core.units import thousands
from hpcnas.deploy import flatbuffer
from hpcnas.deploy.write import Feeding, Graph
from hpcnas.export import speech
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier

ON_DEVICE = ("space.target=tflite-micro", "space.max_params=0", "space.max_activations=0", "ensemble.members=1")
IN_INTEGERS = ("ensemble.quantised=true", "ensemble.baseline=")
SEARCHED = "member 0"


@dataclass(frozen=True)
class Exported:
    """Of one training."""

    params: int
    floats: float
    """Test accuracy in LiteRT, in [0, 1]."""
    integers: float
    flash_kb: float
    """Of the graph alone, as it goes into flash, in units of 1024 bytes: a .tflite file has its description beside it."""
    arena_kb: str
    """What tflite-micro takes, in thousands of bytes, or why it takes none."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--limits", nargs="+", default=["32/16", "64/32"], metavar="FLASH/ARENA", help="kB")
    parser.add_argument("--rivals", nargs="+", default=["SparkNet-16", "SparkNet-32", "TENet6-narrow", "TC-ResNet8"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.seeds)
    work = [(limit, seed) for seed in seeds for limit in (*arguments.limits, "")]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = dict(zip(work, pool.map(lambda one: trained(arguments, *one), work)))
    print("| limit | model | parameters | floats | integers (each seed) | flash | memory |\n|---|---|---|---|---|---|---|")
    for limit in arguments.limits:
        show(limit, "searched", [exported(runs[limit, seed], SEARCHED) for seed in seeds])
    for rival in arguments.rivals:
        show("", rival, [exported(runs["", seed], rival) for seed in seeds])


def trained(arguments: argparse.Namespace, limit: str, seed: int) -> RunDir:
    """The run of a limit and seed, or of the rivals with that seed; what is missing in it is trained."""
    run = RunDir(arguments.folder / (limit.replace("/", "-") or "rivals") / str(seed))
    changes = [f"seed={seed}", *IN_INTEGERS, *arguments.set]
    if limit:
        flash, arena = limit.split("/")
        changes += [*ON_DEVICE, f"space.max_flash_kb={flash}", f"space.max_arena_kb={arena}"]
    settings = [part for change in changes for part in ("--set", change)]
    begun = [str(arguments.config), "--run", str(run.root), "--resume", *settings]
    if limit:
        program("hpcnas.search", *begun)
        program("hpcnas.ensemble", str(run.root))
    else:
        program("hpcnas.compare", *begun, "--models", *arguments.rivals, "--seeds", "1")
    return run


def exported(run: RunDir, name: str) -> Exported:
    """A trained model as its two files and tflite-micro have it."""
    classifier = Classifier.open(run, name)
    graph = Graph.of(classifier, Feeding(), speech(classifier))
    with TemporaryDirectory() as folder:
        full = graph.write(Path(folder) / "model", "litert")
        small = graph.write_int8(Path(folder) / "model.int8", full.path, "litert")
        flash, memory = len(flatbuffer.bare(small.path)) / 1024, of_memory(graph, small.path)
    return Exported(classifier.params, full.accuracy, small.accuracy, flash, memory)


def show(limit: str, name: str, models: list[Exported]) -> None:
    """One row: means over the seeds, and each seed's integers."""
    each = ", ".join(f"{one.integers:.1%}" for one in models)
    floats, integers = (float(np.mean([getattr(one, key) for one in models])) for key in ("floats", "integers"))
    params = ", ".join(dict.fromkeys(thousands(one.params) for one in models))
    taken = [(f"{one.flash_kb:.1f}", one.arena_kb) for one in models]
    flash, arena = (", ".join(dict.fromkeys(found)) for found in zip(*taken))
    print(f"| {limit} | {name} | {params} | {floats:.1%} | {integers:.1%} ({each}) | {flash} kB | {arena} kB |", flush=True)


if __name__ == "__main__":
    main()
