"""Corpora and features. Knows nothing of torch or MPI.

A data set is a module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from hpcnas.data import (
    huggingface,
    kaldi,
    language_folders,
    lhotse,
    manifest,
    speech_commands,
    synthetic,
    synthetic_languages,
    webdataset,
)
from hpcnas.data.corpus import CorpusIndex, DataConfig


class DataSet(Protocol):
    """Where recordings are and what is said in them."""

    PADDING_COUNTS: bool
    """Whether the silence that pads a short recording is part of it."""

    def index(self, config: DataConfig) -> CorpusIndex:
        """All recordings; raises DataError."""

    def says_splits(self, config: DataConfig) -> bool:
        """Whether lists or folders at ``config.path`` tell what is for the test."""


class ListedDataSet(DataSet, Protocol):
    """One whose lists tell more than a class."""

    def fields_of(self, config: DataConfig, split: str) -> Mapping[tuple[Path, float], Mapping[str, object]]:
        """What they tell, by recording and where in it an example begins, in seconds."""


LISTED: dict[str, ListedDataSet] = {
    "huggingface": huggingface,
    "kaldi": kaldi,
    "lhotse": lhotse,
    "manifest": manifest,
    "webdataset": webdataset,
}
DATASETS: dict[str, DataSet] = {
    "builtin_kws": synthetic,
    "builtin_lid": synthetic_languages,
    "language_folders": language_folders,
    "speech_commands": speech_commands,
    **LISTED,
}

__all__ = ["DATASETS", "LISTED"]
