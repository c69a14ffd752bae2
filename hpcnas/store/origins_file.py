"""``donors/origins.toml``: the models of another run that a stage begins with. Their weights lie beside it, so that the stage
never needs that run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ArchitectureError, ConfigError, RunError
from hpcnas.core.trial import Proposal, Trial
from hpcnas.store import toml_file, weights
from hpcnas.store.files import replacing
from hpcnas.store.run_dir import Stage


@dataclass(frozen=True)
class Origin:
    """One of the models."""

    model: str
    """In the other run: its stage and number, such as ``search/17``."""
    architecture: str
    has_weights: bool
    """False: they were gone, and the tower alone was taken over."""


@dataclass(frozen=True)
class Origins:
    """Contents of the file.

    Args:
        run: where the models come from.
        is_chosen: whether it is known already which ones.
        models: by their number in this stage.
        tried: what else that run began with, by mutation: it need not be tried again.
    """

    run: str
    is_chosen: bool = False
    models: Sequence[Origin] = ()
    tried: Sequence[str] = ()


def bring(stage: Stage, number: int, architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> None:
    """Store the weights of a model of another run."""
    weights.save(stage.donor(number), Trial(number, Proposal(architecture, None, ""), seed=0), arrays, {})


def save(path: Path, origins: Origins) -> None:
    table = {**asdict(origins), "models": [asdict(model) for model in origins.models]}
    with replacing(path) as part:
        part.write_text(toml_file.spell(table), encoding="utf-8")


def load(path: Path) -> Origins:
    """Raises RunError if it is missing or damaged."""
    try:
        table = toml_file.load(path)
        models = tuple(Origin(**model) for model in table["models"])
        for model in models:
            Architecture.parse(model.architecture)
        return Origins(str(table["run"]), bool(table["is_chosen"]), models, tuple(table["tried"]))
    except (ConfigError, ArchitectureError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore it, or begin another run") from error
