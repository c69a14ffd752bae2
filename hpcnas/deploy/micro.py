"""Runs a graph in tflite-micro's interpreter, in a process of its own: where a graph asks too much of it, it aborts.

    python -m hpcnas.deploy.micro GRAPH.tflite INPUTS.npz LOGITS.npy

``INPUTS.npz`` has ``log_mel`` (N, F, T), one window or step after another, and ``0``, ``1`` ..., the states a stream begins
with. Needs numpy and tflite-micro alone.
"""

from __future__ import annotations

import sys

import numpy as np

ARENA = 64 << 20
"""Bytes, far more than a device has: what is needed is measured. The default may be too small."""


def main() -> None:
    from tflite_micro.python.tflite_micro import runtime

    graph, inputs, logits = sys.argv[1:]
    micro = runtime.Interpreter.from_file(graph, arena_size=ARENA)
    with np.load(inputs) as given:
        log_mel = given["log_mel"]
        state = [quantised(given[str(number)], micro.get_input_details(1 + number)) for number in range(len(given) - 1)]
    found = []
    for one in log_mel:
        micro.set_input(quantised(one[np.newaxis], micro.get_input_details(0)), 0)
        for number, tensor in enumerate(state, 1):
            micro.set_input(tensor, number)
        micro.invoke()
        found.append(dequantised(micro.get_output(0), micro.get_output_details(0))[0])
        # As they are: a device copies them too.
        state = [micro.get_output(number).copy() for number in range(1, 1 + len(state))]
    np.save(logits, np.stack(found))
    micro.print_allocations()


def quantised(values: np.ndarray, detail: dict) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return np.asarray(values, detail["dtype"])
    of = detail["quantization_parameters"]
    return np.asarray(np.clip(np.round(values.astype(np.float64) / of["scales"][0] + of["zero_points"][0]), -128, 127), np.int8)


def dequantised(values: np.ndarray, detail: dict) -> np.ndarray:
    if detail["dtype"] != np.int8:
        return np.asarray(values)  # of no dimensions it comes as a number
    of = detail["quantization_parameters"]
    return np.asarray((values.astype(np.float32) - of["zero_points"][0]) * of["scales"][0], np.float32)


if __name__ == "__main__":
    main()
