"""The feature file of a corpus, made by all ranks together when it is missing; one process makes it without MPI."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcnas.config import Config
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import DATASETS, features, surroundings, unknown
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, CorpusIndex
from hpcnas.data.progress import Progress
from hpcnas.nn.corpus import Corpus, Split, sampled
from hpcnas.nn.front_end import FrontEnd, fitted
from hpcnas.runtime import known_corpus, pieces
from hpcnas.runtime.together import World, on_every_rank, on_first_rank
from hpcnas.store.files import replacing
from hpcnas.store.model_card import ModelCard
from hpcnas.store.sealed import is_intact, seal

logger = logging.getLogger(__name__)

CHECKED_WHOLE = 1 << 30
"""Bytes of a feature file up to which its checksum is looked at whenever it is used: about a second."""
_JOB = re.compile(r"\.\w+\.h5\.(?P<host>.+)-(?P<process>\d+)\.part")
LEFT_FOR_S = 24 * 3600.0
"""Another host's unfinished file that nobody has written to for so long is a killed job's."""


def load_corpus(
    world: World, config: Config, front_end: FrontEnd | None = None, find: Callable[[], CorpusIndex] | None = None
) -> Corpus:
    """The corpus that ``config`` names, its features mapped; collective over ``world``.

    Args:
        front_end: of a finished model; else one is fitted to the training split.
        find: called on rank 0 for the recordings, in place of all that ``config`` names; what it raises, all ranks raise.

    Raises:
        DataError: on all ranks, with a summary of what cannot be read on any of them, unless that is to be skipped.
    """
    if config.data.all_is_test and front_end is None:
        raise ConfigError("data.all_is_test = true: leaves nothing to train on; it is for hpcnas.evaluate")
    bank = config.features.bank
    on_every_rank(world, bank.check)
    known: list[CorpusIndex] = []
    """On rank 0. Of millions of recordings it takes gigabytes: other ranks get it if there are features to be made of it."""

    def look_up() -> Path:
        known.append(find() if find else indexed(config))
        return _feature_file(config, known[0])

    path = on_first_rank(world, look_up)
    if on_first_rank(world, lambda: not _is_sound(path)):
        told = on_first_rank(world, lambda: known_corpus.packed(known[0]))
        _make(world, config, known_corpus.unpacked(told), path)
    known.clear()
    loaded = features.load(staged(world, path, config.cluster.scratch))
    for line in loaded.remarks if world.rank == 0 else ():
        logger.warning("%s", line)
    splits = {
        split: Split(r.frames, r.starts, r.lengths, r.spoken, r.labels, r.copies if r.copies.shape[1] > 1 else None, r.rows)
        for split, r in loaded.parts.items()
    }
    noise, window = splits.pop(features.NOISE), features.frames_of(config.data.window_s, bank)
    stretches = features.frames_of(features.noise_stretch_s(config.data), bank)
    return Corpus(
        **splits,
        window=window,
        noise=noise.windows(np.arange(len(noise)), np.zeros(len(noise), np.int64), stretches),
        front_end=front_end or fitted(config.features.front_end, *sampled(splits["train"], window)),
        class_names=loaded.class_names,
    )


def staged(world: World, path: Path, scratch: str) -> Path:
    """Where to read ``path`` from: a copy on the node's own disk, if ``scratch`` names a folder there.

    One rank of each node makes it. Recordings need none: each is read once, by one rank.
    """
    if not scratch:
        return path
    folder = Path(os.path.expandvars(scratch)).expanduser()
    leads = world.size == 1 or _leads_its_node(world)
    on_every_rank(world, lambda: _copy(path, folder) if leads else None)
    return folder / path.name


def _leads_its_node(world: Any) -> bool:
    """Of an MPI communicator."""
    from mpi4py import MPI  # not above: that would start MPI in programs of one process

    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    leads = node.rank == 0
    node.Free()
    return leads


def _copy(path: Path, folder: Path) -> None:
    copy = folder / path.name
    if copy.exists() and copy.stat().st_size == path.stat().st_size and _is_sound(copy):
        return
    try:
        with replacing(copy) as part:
            shutil.copyfile(path, part)
    except OSError as error:
        raise DataError(f'cluster.scratch = "{folder}": {path.name} cannot be copied there ({error.strerror})') from error


def card_of(corpus: Corpus) -> ModelCard:
    """What models of this corpus need beside their weights."""
    return ModelCard(corpus.front_end.mean.numpy(), corpus.front_end.std.numpy(), corpus.class_names)


def indexed(config: Config) -> CorpusIndex:
    """All recordings that ``config`` names, with what is added for training, and the conditions that they are heard in; raises
    DataError."""
    known, begun = known_corpus.recalled(config), time.time()
    own = known or known_corpus.remembered(config, DATASETS[config.data.name].index(config.data), begun)
    return surroundings.with_conditions(config.data, unknown.with_unknown(config.data, own))


def found_together(world: World, config: Config) -> CorpusIndex:
    """What ``indexed`` finds on rank 0, on every rank; it raises the same on all of them."""
    if world.size == 1:
        return indexed(config)
    return known_corpus.unpacked(on_first_rank(world, lambda: known_corpus.packed(indexed(config))))


def _feature_file(config: Config, index: CorpusIndex) -> Path:
    """Where the features of a corpus are, or will be."""
    folder = cache_folder(config.data.cache) / "features"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    name = index.kept.fingerprint if index.kept else features.fingerprint(index, config.data, config.features.bank)
    return folder / f"{name}.h5"


def _is_sound(path: Path) -> bool:
    """Whether the features are there and whole. A file of more than ``CHECKED_WHOLE`` bytes, which was compared with its shares
    when it was made, is looked at from outside only: to read hundreds of gigabytes would take minutes of every start."""
    if not path.exists():
        return False
    if path.stat().st_size > CHECKED_WHOLE or is_intact(path):
        return True
    logger.warning("%s: is damaged, and is made anew", path)
    return False


def _make(world: World, config: Config, index: CorpusIndex, path: Path) -> None:
    """Compute the features, every rank pieces of its own, and put them together; collective over ``world``."""
    start, bank = time.monotonic(), config.features.bank
    examples = sum(len(index.copies_of(split)) * len(index.splits[split]) for split in SPLITS)
    division, folder = features.Division.of(index, config.data, pieces.number_of(examples)), pieces.folder_of(path)
    own, new = _own_pieces(world, division, bank, folder)
    shares = sorted(pair for made in world.allgather(own) for pair in made)
    on_first_rank(world, lambda: _put_together(path, division, config, [share for _, share in shares]))
    if world.rank == 0:
        hours = (
            sum(
                len(index.copies_of(split)) * sum(example.length_s or config.data.window_s for example in index.splits[split])
                for split in SPLITS
            )
            / 3600
        )
        minutes = (time.monotonic() - start) / 60
        logger.info(
            "features of %d examples, %.2f h of audio, in %.1f s (%.1f h a minute)",
            examples, hours, 60 * minutes, new * hours / minutes,
        )  # fmt: skip


def _own_pieces(
    world: World, division: features.Division, bank: features.FilterBank, folder: Path
) -> tuple[list[tuple[int, features.Share]], float]:
    """This rank's pieces with their numbers, and the share of all ranks' that was not there yet, in [0, 1]; pieces that are
    there are taken as they are. Collective over ``world``."""
    own = range(world.rank, division.shares, world.size)
    there = {number: share for number in own if (share := pieces.known(folder, number))}
    many = sum(world.allgather(len(there)))
    # Rank 0 has as many as any other.
    progress = Progress("features", sum(map(division.size, own))) if world.rank == 0 else None
    if progress and many:
        logger.info("features: %d of %d pieces are there from an earlier job", many, division.shares)
        progress.step(sum(map(division.size, there)))

    def extracted(number: int) -> features.Share:
        step = progress.step if progress else lambda: None
        return pieces.make(folder, number, lambda part: features.extract(part, division, bank, number, step))

    pairs = on_every_rank(world, lambda: [(number, there.get(number) or extracted(number)) for number in own])
    return pairs, 1 - many / division.shares


def _put_together(path: Path, division: features.Division, config: Config, shares: Sequence[features.Share]) -> None:
    # A name of its own: another job may be making the same file.
    job = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        features.assemble(job, division, config.features.bank, shares)
        seal(job)
        job.replace(path)
    except FileNotFoundError:
        if not _is_sound(path):  # else the other job was faster, and has removed the pieces
            raise
    finally:
        job.unlink(missing_ok=True)
    pieces.remove(pieces.folder_of(path))


def _sweep(folder: Path) -> None:
    """Remove what killed jobs have left, and no job will go on with; other jobs may be writing theirs."""
    pieces.sweep(folder)
    for part in folder.glob(".*.part*"):
        job = _JOB.match(part.name)
        try:
            if job and job["host"] == socket.gethostname():
                is_left = not _is_running(int(job["process"]))
            else:
                is_left = time.time() - part.stat().st_mtime > LEFT_FOR_S
            if is_left:
                part.unlink()
        except FileNotFoundError:
            continue  # its job, or another one, was faster


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
