"""The feature file of a corpus, made by all ranks together when it is missing."""

from __future__ import annotations

import logging
import time

from mpi4py import MPI

from hpcnas.config import Config
from hpcnas.data import DATASETS, features
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import CorpusIndex
from hpcnas.nn.training import Corpus, Split
from hpcnas.runtime.channel import meet
from hpcnas.runtime.launch import on_every_rank, on_first_rank

logger = logging.getLogger(__name__)


def load_corpus(world: MPI.Comm, config: Config) -> Corpus:
    """The corpus that ``config`` names, its features mapped; collective over ``world``.

    Raises:
        DataError: on all ranks, if any rank cannot read an example.
    """
    index, path, missing = on_first_rank(world, lambda: _look_up(config))
    if missing:
        start = time.monotonic()
        part = path.with_name(f".{path.name}.part")
        on_first_rank(world, lambda: features.create(part, index, config.data, config.features))
        meet(world)
        on_every_rank(world, lambda: features.fill(part, index, config.data, config.features, world.rank, world.size))
        on_first_rank(world, lambda: _finish(part, path))
        if world.rank == 0:
            seconds = time.monotonic() - start
            hours = len(index.examples) * config.data.window_s / 3600
            logger.info(
                "features of %d examples in %.1f s (%.1f h of audio a minute)",
                len(index.examples),
                seconds,
                hours / seconds * 60,
            )
    loaded = features.load(path)
    splits = {name: Split(loaded.features[name], loaded.labels[name]) for name in loaded.features}
    return Corpus(**splits, mean=loaded.mean, std=loaded.std, noise=loaded.noise, class_names=loaded.class_names)


def _look_up(config: Config) -> tuple[CorpusIndex, object, bool]:
    index = DATASETS[config.data.name].index(config.data, config.seed)
    folder = cache_folder(config.data.cache) / "features"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{features.fingerprint(index, config.data, config.features)}.h5"
    return index, path, not path.exists()


def _finish(part, path) -> None:
    features.finish(part)
    part.replace(path)
