"""``model_card.json``: what a run's models need beside their weights to be used on other audio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from hpcnas.core.errors import RunError
from hpcnas.core.thresholds import Thresholds
from hpcnas.store.files import replacing

FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """Contents of the file; all else is in the run's configuration.

    Args:
        mean: (F,) of the training split, which is subtracted from features.
        std: (F,) of the training split, by which they are divided then.
        class_names: of the logits.
        thresholds: of models by name, as far as they were chosen; each with the digest of the weights that it holds for.
    """

    mean: np.ndarray
    std: np.ndarray
    class_names: Sequence[str]
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)


def save(path: Path, card: ModelCard) -> None:
    fields = {"format": FORMAT, "class_names": list(card.class_names), "mean": card.mean.tolist(), "std": card.std.tolist()}
    if card.thresholds:
        fields["thresholds"] = {name: asdict(one) for name, one in card.thresholds.items()}
    with replacing(path) as part:
        part.write_text(json.dumps(fields, indent=1), encoding="utf-8")


def load(path: Path) -> ModelCard:
    """Raises RunError if it is missing or damaged."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        thresholds = {name: Thresholds(**one) for name, one in fields.get("thresholds", {}).items()}
        return ModelCard(np.array(fields["mean"]), np.array(fields["std"]), tuple(fields["class_names"]), thresholds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); a search that goes on writes it again") from error


def add_thresholds(path: Path, name: str, thresholds: Thresholds) -> None:
    """Write those of a model, in place of earlier ones; raises RunError."""
    card = load(path)
    save(path, replace(card, thresholds={**card.thresholds, name: thresholds}))
