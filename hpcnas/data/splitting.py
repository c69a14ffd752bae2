"""Dividing recordings into train, validation and test where the corpus does not say how."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data.corpus import DataConfig

logger = logging.getLogger(__name__)

PATTERNS = (r"(.+?)_nohash_", r"(.+?)__U__", r"(\d+)-\d+-\d+$")
"""How file names of known corpora name their speaker or source: Speech Commands, VoxLingua107, LibriSpeech."""


LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
"""Files in the root of a corpus, one path relative to it a line; what neither names is for training."""


def listed(root: Path) -> dict[str, str]:
    """The split of every path that the lists name; raises DataError for one that both do."""
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        try:
            lines = {line.strip() for line in (root / name).read_text(encoding="utf-8").split("\n")} - {""}
        except UnicodeDecodeError as error:
            raise DataError(f"{root / name}: is not UTF-8 text ({error})") from error
        if twice := sorted(lines & splits.keys()):
            raise DataError(
                f"{root}: {len(twice)} recording(s) are in both lists, first {', '.join(twice[:3])}; keep each in one"
            )
        splits.update(dict.fromkeys(lines, split))
    return splits


def by_source(
    root: Path, recordings: Iterable[tuple[str, Path]], config: DataConfig, across_classes: bool
) -> Iterator[tuple[str, str, Path]]:
    """Split, class and path of recordings (class and path), each source in one split.

    Args:
        across_classes: whether a name means the same source in every class, as speakers say many words.
    """
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
    """A split that depends on ``key`` alone: the same in every run and on every machine."""
    percent = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32 * 100
    if percent < config.validation_percent:
        return "validation"
    return "test" if percent < config.validation_percent + config.test_percent else "train"
