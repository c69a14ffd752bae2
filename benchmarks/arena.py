"""Flash and working memory on a device: what a search tells of a tower, and what there really is.

    pip install litert-torch tflite-micro                # about 2 minutes; Linux on x86-64
    python benchmarks/arena.py [TOWERS] [SEED]           # 50 towers: 5 minutes

Random towers of the default blocks, for a second of 40 bands and 12 classes, of 10k to 65k parameters. Each is converted by
litert-torch, made int8 by ai-edge-quantizer and run by tflite-micro; names of tensors are taken out of the file, since nothing
on a device reads them. Ratios are of what is told to what is: below 1 is too little.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hpcnas.config import SpaceConfig
from hpcnas.core.architecture import Architecture
from hpcnas.core.fitting import shrunk
from hpcnas.core.mutation import random_tower
from hpcnas.nn.cost import CostTable
from hpcnas.nn.folding import folded
from hpcnas.nn.model import Surroundings, build_model

BANDS, FRAMES, CLASSES = 40, 100, 12
PARAMS = (10_000, 65_000)
ARENA = 64 << 20
"""Bytes that the interpreter may use here."""


class Real(NamedTuple):
    """What a converted tower takes, in bytes."""

    flash: int
    arena: int


def main() -> None:
    towers, seed = (int(given or default) for given, default in zip_longest(sys.argv[1:], ("50", "0")))
    ratios: dict[str, list[float]] = {"flash": [], "arena": []}
    took = []
    space = SpaceConfig(target="tflite-micro")
    for number, tower in enumerate(drawn(space, towers, np.random.default_rng(seed))):
        start = time.process_time()
        cost = CostTable(space.surroundings(BANDS, CLASSES), FRAMES).measure(tower)
        took.append(time.process_time() - start)
        found = real(tower, space.surroundings(BANDS, CLASSES))
        ratios["flash"].append(1024 * cost.flash_kb / found.flash)
        ratios["arena"].append(1024 * cost.arena_kb / found.arena)
        flash, arena = ratios["flash"][-1], ratios["arena"][-1]
        print(f"{number:3} flash {found.flash:7} x {flash:.3f}  arena {found.arena:7} x {arena:.3f}  {tower}", flush=True)
    for name, values in ratios.items():
        print(f"{name}: told / real {median(values):.3f}, from {min(values):.3f} to {max(values):.3f}")
    print(f"{1000 * median(took):.0f} ms a tower, all its blocks new")


def drawn(config: SpaceConfig, number: int, rng: np.random.Generator) -> Iterator[Architecture]:
    """So many random towers, each narrowed to a limit of its own."""
    space, costs = config.build(), CostTable(config.surroundings(BANDS, CLASSES), FRAMES)
    while number:
        most, depth = rng.integers(*PARAMS), rng.integers(2, 9)
        tower = shrunk(random_tower(space, int(depth), rng), space, lambda one, most=most: costs.measure(one).params <= most)
        if tower and costs.measure(tower).params >= PARAMS[0] / 2:
            number -= 1
            yield tower


def real(tower: Architecture, around: Surroundings, frames: int = FRAMES) -> Real:
    """What there is of a tower, untrained, once it is converted."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    graph, example = Whole(tower, around, frames).eval().requires_grad_(False), torch.randn(1, around.bands, frames)
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        full, small = Path(folder) / "model.tflite", Path(folder) / "model.int8.tflite"
        litert_torch.convert(graph, (example,)).export(str(full))
        name, signature = next(iter(Interpreter(str(full)).get_signature_list().items()))
        work = quantizer.Quantizer(str(full))
        work.load_quantization_recipe(recipe.static_wi8_ai8())
        windows = [{signature["inputs"][0]: torch.randn(1, around.bands, frames).numpy()} for _ in range(3)]
        work.quantize(work.calibrate({name: windows})).export_model(str(small))
        small.write_bytes(nameless(small.read_bytes()))
        # In a process of its own: where a graph asks too much of it, the interpreter ends it.
        done = subprocess.run([sys.executable, __file__, "--run", str(small)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{tower}: tflite-micro fails: {done.stderr[-300:]}")
        return Real(small.stat().st_size, int(re.findall(r"allocation total (\d+) bytes", done.stderr)[-1]))


class Whole(nn.Module):
    """Normalisation and a model whose activations are as wide as after training, though it has learnt nothing."""

    def __init__(self, tower: Architecture, around: Surroundings, frames: int) -> None:
        super().__init__()
        model, generator = build_model(tower, around, seed=0), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.add_(0.3 * torch.rand(parameter.shape, generator=generator))
            for _ in range(30):
                model.train()(torch.randn(4, around.bands, frames, generator=generator))
        self.model = folded(model)
        self.register_buffer("mean", 0.5 * torch.randn(1, around.bands, 1, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x - self.mean) / 2)


def nameless(content: bytes) -> bytes:
    """A file with numbers for names and without metadata."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata, kept = [], [model.buffers[0]]
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = str(number)
        has_data = model.buffers[tensor.buffer].data is not None
        kept += [model.buffers[tensor.buffer]] if has_data else []
        tensor.buffer = len(kept) - 1 if has_data else 0
    model.buffers = kept
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_on_device(path: str) -> None:
    """Run a file once in tflite-micro, which says what it has allocated on standard error."""
    from tflite_micro.python.tflite_micro import runtime

    micro = runtime.Interpreter.from_file(path, arena_size=ARENA)
    detail = micro.get_input_details(0)
    micro.set_input(np.zeros(detail["shape"], detail["dtype"]), 0)
    micro.invoke()
    micro.print_allocations()


if __name__ == "__main__":
    run_on_device(sys.argv[2]) if sys.argv[1:2] == ["--run"] else main()
