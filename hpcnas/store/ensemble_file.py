"""``ensemble.h5``: how much each member counts, and what the ensemble predicts; the members lie beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcnas.core.errors import RunError
from hpcnas.store.sealed import arrays_below, reading, writing

FORMAT = 2
AGAIN = "remove it and run hpcnas.ensemble again, which combines the members anew"


@dataclass(frozen=True)
class Member:
    """A stored model that an ensemble is made of."""

    stage: str
    """``ensemble``: trained from scratch; ``search``: as the search left it; ``student``: trained by the ensemble."""
    trial: int
    weight: float
    """Of its logits."""

    @property
    def label(self) -> str:
        return f"{self.stage}/{self.trial}"


@dataclass(frozen=True)
class EnsembleFile:
    """Contents of the file.

    Args:
        members: those that count, their weights summing to one.
        logits: (N, K) of the ensemble, per split.
        labels: (N,) per split.
    """

    members: Sequence[Member]
    logits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    class_names: Sequence[str]


def save(path: Path, ensemble: EnsembleFile) -> None:
    with writing(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["class_names"] = list(ensemble.class_names)
        file["members"] = [member.label for member in ensemble.members]
        file["weights"] = [member.weight for member in ensemble.members]
        for split, logits in ensemble.logits.items():
            file[f"logits/{split}"] = logits
            file[f"labels/{split}"] = ensemble.labels[split]


def load(path: Path) -> EnsembleFile:
    """Raises RunError for a file that is damaged, of another format, or not finite."""
    with reading(path, "an ensemble", AGAIN) as file:
        if file.attrs["format"] != FORMAT:
            raise RunError(f"{path}: has format {file.attrs['format']}, not {FORMAT}; {AGAIN}")
        labels = [label.rpartition("/") for label in file["members"].asstr()[:]]
        return EnsembleFile(
            members=[Member(stage, int(trial), float(w)) for (stage, _, trial), w in zip(labels, file["weights"][:])],
            logits=arrays_below(file["logits"]),
            labels={split: file["labels"][split][:] for split in file["labels"]},
            class_names=tuple(map(str, file.attrs["class_names"])),
        )
