"""``model_card.json``: what a run's models need beside their weights to be used on other audio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcnas.core.errors import RunError
from hpcnas.store.files import replacing

FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """Contents of the file; all else is in the run's configuration.

    Args:
        mean, std: (F,) of the training split, by which features are normalised.
        class_names: of the logits.
    """

    mean: np.ndarray
    std: np.ndarray
    class_names: Sequence[str]


def save(path: Path, card: ModelCard) -> None:
    fields = {"format": FORMAT, "class_names": list(card.class_names), "mean": card.mean.tolist(), "std": card.std.tolist()}
    with replacing(path) as part:
        part.write_text(json.dumps(fields, indent=1), encoding="utf-8")


def load(path: Path) -> ModelCard:
    """Raises RunError if it is missing or damaged."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return ModelCard(np.array(fields["mean"]), np.array(fields["std"]), tuple(fields["class_names"]))
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path}: cannot be read ({error}); a search that goes on writes it again") from error
