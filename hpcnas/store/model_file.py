"""One HDF5 file with a finished model and everything it needs: what is carried off a cluster.

Attributes ``kind``, ``format``, ``name`` and ``class_names``; datasets ``mean`` and ``std`` (F,) by which features are
normalised, ``config``, ``metrics`` and ``thresholds`` (TOML and JSON as text); and for each member a group ``members/<n>`` with
attributes ``stage``, ``trial``, ``weight``, ``architecture`` and its parameters and buffers below ``arrays``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import RunError
from hpcnas.core.thresholds import Thresholds
from hpcnas.store.ensemble_file import Member
from hpcnas.store.model_card import ModelCard
from hpcnas.store.sealed import arrays_below, reading, writing

KIND = "hpcnas model"
FORMAT = 1


@dataclass(frozen=True)
class StoredModel:
    """One member's architecture, and its parameters and buffers by name."""

    architecture: Architecture
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """Contents of the file.

    Args:
        name: of the model within the run it comes from.
        members: how much each counts; their weights sum to one.
        stored: one for each member.
        card: class names and normalisation.
        config: of the run, as TOML.
        metrics: what it reached, by name; empty if that is not known.
    """

    name: str
    members: Sequence[Member]
    stored: Sequence[StoredModel]
    card: ModelCard
    config: str
    metrics: Mapping[str, float]


def save(path: Path, model: ModelFile) -> None:
    with writing(path) as file:
        file.attrs.update(kind=KIND, format=FORMAT, name=model.name, class_names=list(model.card.class_names))
        file["mean"], file["std"] = model.card.mean, model.card.std
        file["thresholds"] = json.dumps({name: asdict(one) for name, one in model.card.thresholds.items()})
        file["config"], file["metrics"] = model.config, json.dumps(dict(model.metrics))
        for number, (member, stored) in enumerate(zip(model.members, model.stored)):
            group = file.create_group(f"members/{number}")
            group.attrs.update(stage=member.stage, trial=member.trial, weight=member.weight)
            group.attrs["architecture"] = str(stored.architecture)
            for name, array in stored.arrays.items():
                group[f"arrays/{name}"] = array


def load(path: Path) -> ModelFile:
    """Raises RunError for a file that is none, is damaged, has another format, or is not finite."""
    with reading(path, "a model", "export it again") as file:
        if file.attrs.get("kind") != KIND:
            raise RunError(f"{path}: is not a model that hpcnas.export wrote with --format state_dict")
        if file.attrs["format"] != FORMAT:
            raise RunError(f"{path}: has format {file.attrs['format']}, not {FORMAT}; export the model again")
        groups = [file["members"][str(number)] for number in range(len(file["members"]))]
        return ModelFile(
            name=str(file.attrs["name"]),
            members=[Member(str(g.attrs["stage"]), int(g.attrs["trial"]), float(g.attrs["weight"])) for g in groups],
            stored=[StoredModel(Architecture.parse(str(g.attrs["architecture"])), arrays_below(g["arrays"])) for g in groups],
            card=ModelCard(file["mean"][:], file["std"][:], tuple(map(str, file.attrs["class_names"])), _thresholds(file)),
            config=file["config"].asstr()[()],
            metrics=json.loads(file["metrics"].asstr()[()]),
        )


def _thresholds(file: h5py.File) -> dict[str, Thresholds]:
    """None in files from before there were any."""
    stored = json.loads(file["thresholds"].asstr()[()]) if "thresholds" in file else {}
    return {name: Thresholds(**one) for name, one in stored.items()}
