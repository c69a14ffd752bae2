"""``ensemble.h5``: how much each member counts, and what the ensemble predicts; the members lie beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpcnas.store.files import replacing

FORMAT = 1


@dataclass(frozen=True)
class EnsembleFile:
    """Contents of the file.

    Args:
        members: trial numbers of the ensemble stage, whose files are ``member-<number>.h5``.
        weights: (M,), of their logits.
        logits: (N, K) of the ensemble, per split.
        labels: (N,) per split.
    """

    members: Sequence[int]
    weights: np.ndarray
    logits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    class_names: Sequence[str]


def save(path: Path, ensemble: EnsembleFile) -> None:
    with replacing(path) as part, h5py.File(part, "w", locking=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["class_names"] = list(ensemble.class_names)
        file["members"] = np.array(ensemble.members, np.int64)
        file["weights"] = ensemble.weights
        for split, logits in ensemble.logits.items():
            file[f"logits/{split}"] = logits
            file[f"labels/{split}"] = ensemble.labels[split]


def load(path: Path) -> EnsembleFile:
    with h5py.File(path, "r", locking=False) as file:
        return EnsembleFile(
            members=file["members"][:].tolist(),
            weights=file["weights"][:],
            logits={split: file["logits"][split][:] for split in file["logits"]},
            labels={split: file["labels"][split][:] for split in file["labels"]},
            class_names=tuple(map(str, file.attrs["class_names"])),
        )
