"""Audio hours a minute: our extraction on several ranks against the feature library alone in one process.

    tools/with_env.sh .venv python benchmarks/extraction.py [--hours 2] [--ranks 1 2] [--formats wav flac ogg opus mp3]

Made-up noise in files of one second. Ours reads the files, computes features and writes the feature file; the library,
kaldi-native-fbank, gets the same samples in memory and does nothing else: what one process could reach at best. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import soundfile

RATE = 16000
SUBTYPES = {"wav": "PCM_16", "opus": "OPUS"}
PROGRAM = """
import sys, time
from mpi4py import MPI
from hpcnas.config import load
from hpcnas.runtime.features import load_corpus
config = load(None, sys.argv[1:])
MPI.COMM_WORLD.Barrier()
start, cpu = time.monotonic(), time.process_time()
load_corpus(MPI.COMM_WORLD, config)
cpu = MPI.COMM_WORLD.allreduce(time.process_time() - cpu)
MPI.COMM_WORLD.Barrier()
if MPI.COMM_WORLD.rank == 0:
    print(time.monotonic() - start, cpu)
"""
"""Looks the corpus up and makes its features, as every search does first; prints seconds, and those of CPU of all ranks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--formats", nargs="+", default=["wav"], metavar="SUFFIX", help="wav, flac, ogg, opus, mp3")
    arguments = parser.parse_args()
    files = round(3600 * arguments.hours)
    samples = (0.1 * np.random.default_rng(0).standard_normal((files, RATE))).astype(np.float32)
    print("| extraction | hours of audio a minute | against the library alone | CPU s an hour of audio |\n|---|---|---|---|")
    seconds, cpu = library(samples)
    alone = arguments.hours / seconds * 60
    name = "kaldi-native-fbank alone, one process, samples in memory"
    print(f"| {name} | {alone:.1f} | 1.00 | {cpu / arguments.hours:.1f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, ranks in itertools.product(arguments.formats, arguments.ranks):
            place = Path(folder) / suffix
            if not place.exists():
                write(place / "corpus", samples, suffix)
            seconds, cpu = ours(place, ranks)
            rate = arguments.hours / seconds * 60
            name = f"hpcnas, {ranks} rank(s), from {suffix.upper()} files to the feature file"
            print(f"| {name} | {rate:.1f} | {rate / alone:.2f} | {cpu / arguments.hours:.1f} |", flush=True)


def library(samples_NS: np.ndarray) -> tuple[float, float]:
    """Seconds, and those of CPU, for all recordings, each with a filter bank of its own, as the library is used."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = 40
    options.mel_opts.low_freq, options.mel_opts.high_freq = 20, 7600
    start, cpu = time.monotonic(), time.process_time()
    for samples in samples_NS:
        bank = knf.OnlineFbank(options)
        bank.accept_waveform(RATE, samples.tolist())  # a quarter faster than the array
        bank.input_finished()
        np.stack([bank.get_frame(t) for t in range(bank.num_frames_ready)])
    return time.monotonic() - start, time.process_time() - cpu


def write(root: Path, samples_NS: np.ndarray, suffix: str = "wav") -> None:
    """Two words, every tenth recording in validation, every tenth in test."""
    lists: dict[int, list[str]] = {0: [], 1: []}
    for word in ("left", "right"):
        (root / word).mkdir(parents=True)
    for number, samples in enumerate(samples_NS):
        name = f"{('left', 'right')[number % 2]}/{number:07d}_nohash_0.{suffix}"
        soundfile.write(root / name, samples, RATE, subtype=SUBTYPES.get(suffix), format="OGG" if suffix == "opus" else None)
        lists.setdefault(number // 2 % 10, []).append(name)
    for part, name in enumerate(("validation_list.txt", "testing_list.txt")):
        (root / name).write_text("\n".join(lists[part]))


def ours(folder: Path, ranks: int) -> tuple[float, float]:
    """Seconds, and those of CPU of all ranks, of what every search does first, on so many ranks, with an empty cache."""
    settings = [
        "data.name=speech_commands", f"data.path={folder / 'corpus'}", "data.protocol=all", f"data.cache={folder / str(ranks)}"
    ]  # fmt: skip
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks), sys.executable, "-c", PROGRAM, *settings]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, cpu = map(float, done.stdout.split())
    return seconds, cpu


if __name__ == "__main__":
    main()
