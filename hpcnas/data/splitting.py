"""Dividing recordings into train, validation and test, and drawing some of many: by rules that no run's seed has a part in.

Chance is a hash of what a recording or its source is called, so that a corpus has one test split in every run and on every
machine, and a recording that is added moves no other one to another split.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hpcnas.core.errors import ConfigError
from hpcnas.data import lists
from hpcnas.data.corpus import DataConfig
from hpcnas.data.spelling import composed, key_of

logger = logging.getLogger(__name__)

PATTERNS = (r"(.+?)_nohash_", r"(.+?)__U__", r"(\d+)-\d+-\d+$")
"""How file names of known corpora name their speaker or source: Speech Commands, VoxLingua107, LibriSpeech."""


def divided(
    root: Path, recordings: Sequence[tuple[str, Path]], config: DataConfig, across_classes: bool
) -> Iterator[tuple[str, str, Path]]:
    """Split, class and path of recordings (class and path): all test if that is wished, or by lists, or by source.

    Args:
        across_classes: whether a name means the same source in every class, as speakers say many words.
    """
    if config.all_is_test:
        yield from (("test", name, path) for name, path in recordings)
    elif lists.there(root):
        yield from lists.by_lists(root, recordings, config.on_bad_file)
    else:
        yield from by_source(root, recordings, config, across_classes)


def by_source(
    root: Path, recordings: Iterable[tuple[str, Path]], config: DataConfig, across_classes: bool
) -> Iterator[tuple[str, str, Path]]:
    """Split, class and path of recordings, each source in one split."""
    source = source_of(config)
    nameless = count = 0
    for name, path in recordings:
        who = source(path)
        count, nameless = count + 1, nameless + (who is None)
        key = who if who and across_classes else f"{name}/{who or path.name}"
        yield split_of(key, config), name, path
    if nameless:
        logger.warning(
            "%s: %d of %d recordings do not tell their speaker or source by their names and are divided one by one, so that a "
            "speaker may be in several splits; lists, or data.source_pattern, would prevent that",
            root, nameless, count,
        )  # fmt: skip


def source_of(config: DataConfig) -> Callable[[Path], str | None]:
    """Which speaker or source a recording is of, by its name; None where the name does not tell."""
    try:
        patterns = [re.compile(config.source_pattern)] if config.source_pattern else [re.compile(p) for p in PATTERNS]
    except re.error as error:
        raise ConfigError(f'data.source_pattern = "{config.source_pattern}": is no regular expression ({error})') from error
    if config.source_pattern and not patterns[0].groups:
        raise ConfigError(f'data.source_pattern = "{config.source_pattern}": needs a group, such as "(.+?)_"')

    def source(path: Path) -> str | None:
        found = next((m for p in patterns if (m := p.match(path.stem))), None)
        return found[1] if found else None

    return source


def split_of(key: str, config: DataConfig) -> str:
    """A split that depends on ``key`` alone."""
    percent = share_of(key) * 100
    if percent < config.validation_percent:
        return "validation"
    return "test" if percent < config.validation_percent + config.test_percent else "train"


def share_of(key: str) -> float:
    """A number in [0, 1) that depends on ``key`` alone, and looks random: the first four bytes of its SHA-256."""
    digest = hashlib.sha256(composed(key).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def drawn(root: Path, paths: Sequence[Path], wanted: int) -> list[Path]:
    """So many of the recordings, in their order: those with the lowest ``share_of`` their paths below ``root``."""
    shares = {path: share_of(key_of(path.relative_to(root).as_posix())) for path in paths}
    chosen = {*sorted(paths, key=shares.__getitem__)[:wanted]}
    return [path for path in paths if path in chosen]
