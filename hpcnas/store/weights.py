"""One HDF5 file per trial or ensemble member: its arrays and its predictions. Written whole, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Trial
from hpcnas.store.sealed import arrays_below, is_sealed, reading, writing

FORMAT = 1


def save(path: Path, trial: Trial, arrays: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> None:
    """Store a trained model.

    Args:
        arrays: parameters and buffers by name.
        logits: (N, K) per split, ``validation`` and for ensemble members ``test``.
    """
    with writing(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["trial"] = trial.id
        file.attrs["architecture"] = str(trial.architecture)
        for group in ("arrays", "logits"):
            file.create_group(group)
        for name, array in arrays.items():
            file[f"arrays/{name}"] = array
        for split, array in logits.items():
            file[f"logits/{split}"] = array


@dataclass(frozen=True)
class Label:
    """What a weights file says it is."""

    trial: int
    architecture: str
    is_sealed: bool
    """Whether it has a checksum, which files from before there was one lack."""


def check(path: Path) -> Label:
    """Raises RunError for a file that is damaged, of another format, or not finite."""
    with _open(path) as file:
        if file.attrs["format"] != FORMAT:
            raise RunError(f"{path}: has format {file.attrs['format']}, not {FORMAT}; another version of hpcnas wrote it")
        arrays_below(file)
        return Label(int(file.attrs["trial"]), str(file.attrs["architecture"]), is_sealed(path))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Parameters and buffers by name; raises RunError if the file is missing or damaged, or they are not finite."""
    with _open(path) as file:
        return arrays_below(file["arrays"])


def load_architecture(path: Path) -> Architecture:
    """Of the stored model; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        return Architecture.parse(str(file.attrs["architecture"]))


def splits(path: Path) -> tuple[str, ...]:
    """Whose logits are stored; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        return tuple(file["logits"])


def load_logits(path: Path, split: str) -> np.ndarray:
    """(N, K) logits of a split; raises RunError if the file is missing or damaged, or its logits are not finite."""
    with _open(path) as file:
        return arrays_below(file["logits"])[split]


def _open(path: Path) -> AbstractContextManager[h5py.File]:
    return reading(path, "weights")
