"""The feature file of a corpus, made by all ranks together when it is missing; one process makes it without MPI."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hpcnas.config import Config
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import DATASETS, features, problems
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import CorpusIndex
from hpcnas.nn.corpus import Corpus, Split, sampled
from hpcnas.nn.front_end import FrontEnd, fitted
from hpcnas.runtime.together import World, on_every_rank, on_first_rank
from hpcnas.store.files import replacing
from hpcnas.store.model_card import ModelCard

logger = logging.getLogger(__name__)


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
    index, path, part, missing = on_first_rank(world, lambda: _look_up(config, find() if find else indexed(config)))
    bank = config.features.bank
    if missing:
        start = time.monotonic()
        on_first_rank(world, lambda: features.create(part, index, config.data, bank))
        step = _Progress(len(index.examples) // world.size).step if world.rank == 0 else lambda: None
        bad = on_every_rank(world, lambda: features.fill(part, index, config.data, bank, world.rank, world.size, step))
        bad = [one for of_rank in world.allgather(bad) for one in of_rank]
        on_first_rank(world, lambda: _finish(part, path, bad, config.data.on_bad_file))
        if world.rank == 0:
            hours = sum(example.length_s or config.data.window_s for example in index.examples) / 3600
            minutes = (time.monotonic() - start) / 60
            logger.info(
                "features of %d examples, %.2f h of audio, in %.1f s (%.1f h a minute)",
                len(index.examples), hours, 60 * minutes, hours / minutes,
            )  # fmt: skip
    loaded = features.load(staged(world, path, config.cluster.scratch))
    splits = {split: Split(r.frames, r.starts, r.lengths, r.spoken, r.labels) for split, r in loaded.parts.items()}
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


def _leads_its_node(world: World) -> bool:
    from mpi4py import MPI  # not above: that would start MPI in programs of one process

    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    leads = node.rank == 0
    node.Free()
    return leads


def _copy(path: Path, folder: Path) -> None:
    copy = folder / path.name
    if copy.exists() and copy.stat().st_size == path.stat().st_size:
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
    """All recordings that ``config`` names; raises DataError."""
    return DATASETS[config.data.name].index(config.data)


def _look_up(config: Config, index: CorpusIndex) -> tuple[CorpusIndex, Path, Path, bool]:
    """The corpus, its feature file, where that is written (another job may be doing the same), and whether it has to be."""
    folder = cache_folder(config.data.cache) / "features"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{features.fingerprint(index, config.data, config.features.bank)}.h5"
    return index, path, path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part"), not path.exists()


class _Progress:
    """Says now and then how far rank 0 is with its share, which is as large as any other's."""

    EVERY_S = 10.0

    def __init__(self, total: int) -> None:
        self._total, self._done, self._said = total, 0, time.monotonic()

    def step(self) -> None:
        self._done += 1
        if time.monotonic() - self._said >= self.EVERY_S:
            self._said = time.monotonic()
            logger.info("features: %.0f %%", 100 * self._done / max(1, self._total))


def _finish(part: Path, path: Path, bad: Sequence[features.BadFile], on_bad_file: str) -> None:
    try:
        problems.settle([one.problem for one in bad], on_bad_file)
    except DataError:
        part.unlink()
        raise
    features.finish(part, bad)
    part.replace(path)
