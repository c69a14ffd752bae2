"""Finished models for a whole group: read by its leader alone, built on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hpcnas.core.trial import Trial
from hpcnas.nn.losses import LabelLoss, Objective, TeamLoss
from hpcnas.nn.model import Model, Surroundings, rebuilt
from hpcnas.nn.training import Trainer
from hpcnas.runtime.channel import GroupChannel
from hpcnas.store import weights
from hpcnas.store.run_dir import Stage


class Library:
    """Lends the stored models of a run for predictions; every rank of the group asks for the same ones in the same order."""

    def __init__(self, channel: GroupChannel, around: Surroundings, device: torch.device) -> None:
        self._channel, self._around, self._device = channel, around, device

    def lend(self, stage: Stage, trial: int) -> Model:
        """The model that ``trial`` left; raises RunError if its file is missing or damaged."""
        if self._channel.is_leader:
            path = stage.weights(trial)
            architecture, arrays = self._channel.tell((weights.load_architecture(path), weights.load_arrays(path)))
        else:
            architecture, arrays = self._channel.hear()
        return rebuilt(architecture, arrays, self._around).to(self._device)


def labels_alone(trial: Trial, smoothing: float, stage: Stage, library: Library) -> Objective:
    """Every trial learns from the labels."""
    return LabelLoss(smoothing)


def labels_together(trial: Trial, smoothing: float, stage: Stage, library: Library) -> Objective:
    """A trial with a team learns what its team still gets wrong."""
    return TeamLoss([library.lend(stage, mate) for mate in trial.proposal.team], smoothing)


def stored_logits(path: Path, splits: Sequence[str], around: Surroundings, trainer: Trainer) -> dict[str, np.ndarray]:
    """(N, K) logits per split of a stored model; those that were not stored with it, or before the split grew, are computed."""
    stored = weights.splits(path)
    logits = {split: weights.load_logits(path, split) for split in splits if split in stored}
    logits = {split: of for split, of in logits.items() if len(of) == len(getattr(trainer.corpus, split))}
    if len(logits) < len(splits):
        model = rebuilt(weights.load_architecture(path), weights.load_arrays(path), around).to(trainer.device)
        quantised = trainer.config.quantised
        missing = [split for split in splits if split not in logits]
        logits.update({s: trainer.evaluate(model, getattr(trainer.corpus, s), quantised=quantised) for s in missing})
    return logits
