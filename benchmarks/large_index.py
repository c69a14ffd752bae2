"""What the index of a very large corpus takes: bytes of memory and of messages for each recording, without any audio.

    python benchmarks/large_index.py [--recordings 100000]

Names and lengths are like those of VoxLingua107, in files of their own and in tar shards of a thousand. A line each, and the
same for 2.5 million recordings and 64 ranks.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from hpcnas.data.corpus import Example
from hpcnas.data.inside import Bytes

ROOT = Path("/data/voxlingua107")
IN_A_SHARD = 1000
SIZE = 307_244
"""Bytes of 9.6 seconds of 16-bit samples."""
RECORDINGS, RANKS = 2_500_000, 64
"""That the figures are told for."""


def in_files(count: int) -> tuple[Example, ...]:
    return tuple(Example(ROOT / name(n), n % 107, 0.0, 9.6 + n % 7, 9.6 + n % 7) for n in range(count))


def in_shards(count: int) -> tuple[Example, ...]:
    shards = [ROOT / f"train-{number:05d}.tar" for number in range(count // IN_A_SHARD + 1)]
    placed = (Bytes(shards[n // IN_A_SHARD], name(n), n % IN_A_SHARD * SIZE, SIZE) for n in range(count))
    return tuple(Example(b.path, n % 107, 0.0, 9.6 + n % 7, 9.6 + n % 7, inside=b) for n, b in enumerate(placed))


def name(number: int) -> str:
    return (
        f"{number % 107:03d}/video{number // 20:07d}__U__S{number % 20}---{number % 977:04d}.960-{number % 977 + 9:04d}.560.wav"
    )


def measured(make: Callable[[int], tuple[Example, ...]], count: int) -> tuple[float, float]:
    """Bytes of memory, and of a message, for each recording."""
    gc.collect()
    tracemalloc.start()
    examples = make(count)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / count, len(pickle.dumps(examples, protocol=pickle.HIGHEST_PROTOCOL)) / count


def main() -> None:
    parser = argparse.ArgumentParser(description="Bytes that the index of a large corpus takes.")
    parser.add_argument("--recordings", type=int, default=100_000)
    arguments = parser.parse_args()
    for make in (in_files, in_shards):
        held, sent = measured(make, arguments.recordings)
        print(
            f"{make.__name__}: {held:.0f} bytes a recording in memory, {sent:.0f} in a message; of {RECORDINGS:,} recordings "
            f"{held * RECORDINGS / 1e9:.2f} GB and {sent * RECORDINGS / 1e9:.2f} GB, on {RANKS} ranks of one node "
            f"{held * RECORDINGS * RANKS / 1e9:.0f} GB while features are made"
        )


if __name__ == "__main__":
    main()
