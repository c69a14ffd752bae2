"""Corpora and features. Knows nothing of torch or MPI.

A data set is a module.
"""

from __future__ import annotations

from typing import Protocol

from hpcnas.data import language_folders, manifest, speech_commands, synthetic, synthetic_languages
from hpcnas.data.corpus import CorpusIndex, DataConfig


class DataSet(Protocol):
    """Where recordings are and what is said in them."""

    PADDING_COUNTS: bool
    """Whether the silence that pads a short recording is part of it."""

    def index(self, config: DataConfig) -> CorpusIndex:
        """All recordings; raises DataError."""

    def says_splits(self, config: DataConfig) -> bool:
        """Whether lists or folders at ``config.path`` tell what is for the test."""


DATASETS: dict[str, DataSet] = {
    "builtin_kws": synthetic,
    "builtin_lid": synthetic_languages,
    "language_folders": language_folders,
    "manifest": manifest,
    "speech_commands": speech_commands,
}

__all__ = ["DATASETS"]
