"""The index of a large corpus is made once and kept beside its features, whichever job comes next."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpcnas.config import Config
from hpcnas.data import features, known_index
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import CorpusIndex
from hpcnas.data.identity import identify
from hpcnas.store.sealed import is_intact, seal

logger = logging.getLogger(__name__)

SETTLED_S = 600.0
"""What was changed within this time before may be changing still, or be another clock's; an index of it is not kept."""


def file_of(config: Config) -> Path:
    """Where the index is kept, if it is."""
    told = [known_index.FORMAT, features.FORMAT, os.getcwd(), asdict(config.data), asdict(config.features)]
    digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]
    return cache_folder(config.data.cache) / "features" / f"index_{digest}.h5"


def recalled(config: Config) -> CorpusIndex | None:
    """The index that was kept, if what it was made of is as it was."""
    path = file_of(config)
    if config.data.has_conditions or not path.exists():
        return None
    if not is_intact(path):
        logger.warning("%s: is damaged, and is made anew", path)
        return None
    if not known_index.are_as_they_were(known_index.made_of(path)):
        return None
    found = known_index.load(path)
    logger.info("index of %d recordings as it was", sum(map(len, found.splits.values())))
    return found


def remembered(config: Config, index: CorpusIndex, begun: float) -> CorpusIndex:
    """The index of all that ``config`` names, kept and mapped if it is large.

    Args:
        begun: seconds since the epoch, before any of the corpus was looked at.
    """
    examples = sum(map(len, index.splits.values()))
    if examples < known_index.LARGE or config.data.has_conditions or not known_index.can_hold(index):
        return index
    path, start = file_of(config), time.monotonic()
    job = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # before folders are looked at, one of which it may be in
        made_of = known_index.places(index, config.data)
        if max(place.changed_ns for place in made_of) > (begun - SETTLED_S) * 1e9:
            return index
        fingerprint = features.fingerprint(index, config.data, config.features.bank)
        known_index.write(job, index, fingerprint, identify(index, config.data, {}), made_of)
        seal(job)
        job.replace(path)
    except OSError as error:  # the folder is others', perhaps, who have made the features
        logger.warning("%s: cannot be kept (%s): the next job looks at all recordings again", path, error)
        return index
    finally:
        job.unlink(missing_ok=True)
    logger.info("index of %d recordings kept in %s (%.1f s)", examples, path, time.monotonic() - start)
    return known_index.load(path)


def packed(index: CorpusIndex) -> Any:
    """What tells another rank of the index: the file's path, if there is one."""
    return index.kept.file if index.kept else index


def unpacked(told: Any) -> CorpusIndex:
    return told if isinstance(told, CorpusIndex) else known_index.load(told)
