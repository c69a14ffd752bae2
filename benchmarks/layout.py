"""A training step with channels innermost in memory against torch's plain layers, or in bfloat16 against 32 bits, on a CPU.

    tools/with_env.sh .venv python benchmarks/layout.py [--bfloat16] [--models TENet6 BC-ResNet-1 ...] [--rounds 12]

Models of the zoo on 32 windows of a second, one thread. The two ways take turns, a step each, so that both see one machine.
Prints a Markdown table: medians, and the median of the ratios of neighbouring steps with its quartiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from hpcnas import zoo
from hpcnas.nn import convolution, normalisation
from hpcnas.nn.blocks import bcres
from hpcnas.nn.model import Model, Surroundings, build_model

AROUND = Surroundings(bands=40, classes=12)
MODELS = (
    "TC-ResNet8", "TENet6", "MatchboxNet-3x1x64", "SparkNet-32", "DS-CNN-S", "Res8-narrow", "SVDF-6", "BC-ResNet-1-t2",
    "BC-ResNet-1", "BC-ResNet-2",
)  # fmt: skip
WARMING_UP = 3
"""Steps of each way that do not count."""
Way = Callable[[bool], AbstractContextManager[None]]
"""What a step's forward pass is within, on or off."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--bfloat16", action="store_true", help="compare bfloat16 with 32 bits, both with channels innermost")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name, way = ("bfloat16", in_bfloat16) if arguments.bfloat16 else ("channels innermost", innermost)
    print(f"| model | {'32 bits' if arguments.bfloat16 else 'plain'} | {name} | ratio (quartiles) |\n|---|---|---|---|")
    for model in zoo.chosen(arguments.models):
        network = build_model(model.tower, AROUND, seed=0).train()
        turns = [[step_ms(network, way, on) for on in (False, True)] for _ in range(arguments.rounds + WARMING_UP)]
        without, with_it = np.array(turns[WARMING_UP:]).T
        low, ratio, high = np.quantile(with_it / without, (0.25, 0.5, 0.75))
        took = f"{np.median(without):.1f} ms | {np.median(with_it):.1f} ms"
        print(f"| {model.name} | {took} | {ratio:.2f} ({low:.2f} to {high:.2f}) |", flush=True)


def step_ms(network: Model, way: Way, on: bool) -> float:
    """How long a step takes."""
    features, labels = torch.randn(32, AROUND.bands, 98), torch.randint(AROUND.classes, (32,))
    start = time.perf_counter()
    network.zero_grad()
    with way(on):
        logits = network(features)
        loss = cross_entropy(logits.float(), labels)
    loss.backward()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def innermost(on: bool) -> Iterator[None]:
    """Channels innermost, or not, chosen where layers ask for it."""
    for module in (convolution, normalisation, bcres):
        module.on_cpu = lambda x: on
    yield


@contextmanager
def in_bfloat16(on: bool) -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16, enabled=on):
        yield


if __name__ == "__main__":
    main()
