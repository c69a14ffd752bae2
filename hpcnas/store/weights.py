"""One HDF5 file per trial or ensemble member: its arrays and its predictions. Written whole, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import RunError
from hpcnas.core.trial import Trial
from hpcnas.store.digest import UNREADABLE, has_seal, is_intact, seal
from hpcnas.store.files import replacing

FORMAT = 1


def save(path: Path, trial: Trial, arrays: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> None:
    """Store a trained model.

    Args:
        arrays: parameters and buffers by name.
        logits: (N, K) per split, ``validation`` and for ensemble members ``test``.
    """
    with replacing(path) as part, h5py.File(part, "w", locking=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["trial"] = trial.id
        file.attrs["architecture"] = str(trial.architecture)
        for name, array in arrays.items():
            file[f"arrays/{name}"] = array
        for split, array in logits.items():
            file[f"logits/{split}"] = array
        seal(file)


@dataclass(frozen=True)
class Label:
    """What a weights file says it is."""

    trial: int
    architecture: str
    is_sealed: bool
    """Whether it has a checksum, which files from before there was one lack."""


def check(path: Path) -> Label:
    """Read everything in the file; raises RunError for any damage that its checksum or HDF5 itself can show."""
    try:
        with _open(path) as file:
            label = Label(int(file.attrs["trial"]), str(file.attrs["architecture"]), has_seal(file))
            if file.attrs["format"] != FORMAT:
                raise RunError(f"{path}: has format {file.attrs['format']}, not {FORMAT}; another version of hpcnas wrote it")
            if not is_intact(file) or not len(file["arrays"]):
                raise RunError(f"{path}: its contents do not match its checksum")
            return label
    except UNREADABLE as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path}: cannot be read as weights ({' '.join(str(error).split())})") from error


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Parameters and buffers by name; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        arrays: dict[str, np.ndarray] = {}
        group = file["arrays"]
        group.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return arrays


def load_architecture(path: Path) -> Architecture:
    """Of the stored model; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        return Architecture.parse(str(file.attrs["architecture"]))


def splits(path: Path) -> tuple[str, ...]:
    """Whose logits are stored; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        return tuple(file["logits"])


def load_logits(path: Path, split: str) -> np.ndarray:
    """(N, K) logits of a split; raises RunError if the file is missing or damaged."""
    with _open(path) as file:
        return file[f"logits/{split}"][:]


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise RunError(f"{path}: cannot be read as weights ({error})") from error
