"""How long a job of a corpus of millions of recordings takes until it can train, and what each rank holds:

    tools/mpirun.sh -np 4 python benchmarks/large_corpus.py [--recordings 2500000] [--shards] [--folder FOLDER]

Makes the index and the feature file of so many recordings in 107 folders, or in tar shards of a thousand, unless
``--folder`` has them, with short frames and no audio: but for the thousand of each split that are looked at, or the empty
shards, there is no recording. Then all ranks go through what a search does when it goes on, up to the batch of its first step.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core.corpus_identity import MEMBER, PARTS, CorpusIdentity
from hpcnas.data import features, known_index
from hpcnas.data.corpus import SPLITS, CorpusIndex, Example
from hpcnas.data.inside import Bytes
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.training import Trainer
from hpcnas.runtime import known_corpus
from hpcnas.runtime.own_corpus import hearing, own_corpus
from hpcnas.runtime.together import on_first_rank
from hpcnas.store import corpus_file
from hpcnas.store.run_dir import RunDir
from hpcnas.store.sealed import seal

CLASSES, BANDS, FRAMES = 107, 4, 10
IN_A_SHARD, SIZE = 1000, 307_244


def settings(folder: Path, in_shards: bool) -> configuration.Config:
    return configuration.load(
        None,
        [
            f"data.name={'webdataset' if in_shards else 'language_folders'}", f"data.path={folder / 'corpus'}",
            f"data.cache={folder}", "data.window_s=0.1", f"features.bands={BANDS}",
        ],
    )  # fmt: skip


def made_up(folder: Path, recordings: int, in_shards: bool) -> CorpusIndex:
    """Names as long as VoxLingua107's, and lengths that all differ."""
    names = [f"l{number:03d}" for number in range(CLASSES)]
    folders = [folder / "corpus" / name for name in names]
    for of_class in folders:
        of_class.mkdir(parents=True)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for number in range(recordings):
        label = number % CLASSES
        name = f"{number:011d}__U__S{number % 97}---{number:09d}.750-{number:09d}.890.wav"
        at, shard = number % IN_A_SHARD, folder / "corpus" / f"train-{number // IN_A_SHARD:06d}.tar"
        inside = Bytes(shard, name, at * SIZE, SIZE) if in_shards else None
        path = inside.path if inside else folders[label] / name
        split = "validation" if number % 50 == 0 else "test" if number % 50 == 1 else "train"
        splits[split].append(Example(path, label, 0.0, 0.1 + number * 1e-9, 0.1, inside=inside))
        if inside and not at:
            shard.touch()
    for examples in splits.values() if not in_shards else ():
        for row in np.linspace(0, len(examples) - 1, min(len(examples), known_index.LOOKED_AT)).astype(int).tolist():
            examples[row].path.touch()
    return CorpusIndex(tuple(names), {split: tuple(of) for split, of in splits.items()}, ())


def identity_of(index: CorpusIndex) -> CorpusIdentity:
    """Of no digests: any numbers are as good."""
    parts = [len(index.splits.get(part, ())) for part in PARTS]
    members = np.zeros(sum(parts), MEMBER)
    members["name"] = np.sort(np.random.default_rng(0).integers(2**63, size=len(members), dtype=np.uint64))
    members["part"] = np.repeat(np.arange(len(PARTS)), parts)
    members["label"] = [example.label for part in PARTS for example in index.splits.get(part, ())]
    return CorpusIdentity(index.class_names, (), {}, members, {}, "")


def write(folder: Path, recordings: int, in_shards: bool) -> None:
    config, index = settings(folder, in_shards), made_up(folder, recordings, in_shards)
    (folder / "features").mkdir()
    path, identity = known_corpus.file_of(config), identity_of(index)
    known_index.write(path, index, "synthetic", identity, known_index.places(index, config.data))
    seal(path)
    run = RunDir(folder / "run")
    run.root.mkdir()
    run.config.touch()
    corpus_file.save(run.search.corpus, replace(identity, features=hearing(config)))
    counts = {**{split: len(index.splits[split]) for split in SPLITS}, features.NOISE: 0}
    with h5py.File(folder / "features" / "synthetic.h5", "w", userblock_size=features.USER_BLOCK) as file:
        for name, count in counts.items():
            group = file.create_group(name)
            group["frames"] = np.zeros((count * FRAMES, BANDS), np.float16)
            group["starts"], group["lengths"] = FRAMES * np.arange(count), np.full(count, FRAMES)
            group["spoken"], group["usable"] = np.full(count, FRAMES), np.ones(count, bool)
            group["labels"] = np.array([example.label for example in index.splits.get(name, ())], np.int64)
        file["remarks"] = np.array([], h5py.string_dtype())
        file.attrs["format"], file.attrs["class_names"] = features.FORMAT, list(index.class_names)
    seal(folder / "features" / "synthetic.h5")


def resident_mb() -> float:
    """Memory of this process that is its own, without what is mapped from files."""
    fields = Path("/proc/self/status").read_text().split("\n")
    return next(float(line.split()[1]) for line in fields if line.startswith("RssAnon")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=2_500_000)
    parser.add_argument("--shards", action="store_true", help="in tar shards, as WebDataset has them")
    parser.add_argument("--folder", type=Path, help="default: a temporary one, which is left behind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    world = MPI.COMM_WORLD
    folder = on_first_rank(world, lambda: arguments.folder or Path(tempfile.mkdtemp()))
    start = time.monotonic()
    if on_first_rank(world, lambda: not (folder / "run").exists()):
        if world.rank == 0 and os.fork() == 0:  # in a process of its own, whose memory is no part of what is measured
            write(folder, arguments.recordings, arguments.shards)
            os._exit(0)
        os.wait() if world.rank == 0 else None
        world.Barrier()
    if world.rank == 0:
        print(f"index of {arguments.recordings} recordings written in {time.monotonic() - start:.0f} s", flush=True)
    config, run = settings(folder, arguments.shards), RunDir(folder / "run")
    before, start, spent = resident_mb(), time.monotonic(), time.process_time()
    corpus, _ = own_corpus(world, config, run, run.search)
    trainer = Trainer(corpus, SoloGroup(), config.training, config.augmentation)
    trainer._training_batch(next(trainer._batches(0, 0)), torch.Generator().manual_seed(0))
    took = time.monotonic() - start, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for rank, (wall, cpu, own, most) in enumerate(world.allgather((*took, resident_mb() - before, peak))):
        if world.rank == 0:
            print(f"rank {rank}: first batch after {wall:.1f} s ({cpu:.1f} s of CPU), {own:.0f} MB more, {most:.0f} MB at most")


if __name__ == "__main__":
    main()
