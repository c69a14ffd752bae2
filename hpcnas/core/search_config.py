"""The table ``[search]`` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.calibration import calibrated_loss
from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError
from hpcnas.core.metrics import OBJECTIVES

IN_THE_FIELD = "misses_at_fa"
"""The objective that hears ``data.negatives``."""
RANKINGS = {
    "calibrated_loss": lambda logits, labels: -calibrated_loss(logits, labels),
    "loss": OBJECTIVES["cross_entropy"],
    "objective": None,
}
"""What trials may be ranked by: logits and labels to a figure, higher is better; None: the search's objective."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How long a search goes on, and over which groups."""

    objective: str = "accuracy"
    """What the score is, on the validation split: ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``roc_area``,
    ``cross_entropy`` (negative), or one minus ``eer``, ``cavg``, ``pairwise_eer``, ``misses`` or ``misses_at_fa``: those at
    ``spotting.false_alarms_per_hour`` in the validation part of ``data.negatives``, by windows that overlap by half. To hear an
    hour of it takes as long as 7,200 recordings of a second, after every epoch."""
    rank_by: str = "calibrated_loss"
    """What trials are ranked by when they are varied, go on, or win the finals, on the validation split: ``loss``, the cross
    entropy; ``calibrated_loss``, the same at the temperature that makes it lowest; or ``objective``. On a few hundred
    recordings losses tell models apart that have the same accuracy; the plain one also rewards confidence, which some have
    earlier in training than others."""
    score_examples: int = 0
    """Recordings of the validation split that trials are scored by, the same for all, evenly spread over it; 0: all. The final
    stage and whatever judges a model hear the whole split."""
    max_trials: int = 36
    """Trials in all, failed ones included."""
    suggestions: tuple[str, ...] = ()
    """Architectures that are tried first, whether the space has them or not, such as ``"gru:units=64/dense:units=64"``."""
    zoo: tuple[str, ...] = ("fitting",)
    """Models drawn by hand that are tried next: names such as ``TENet6``, ``all``, or ``fitting``. ``fitting`` means all
    models of the zoo that keep the limits and, of each other paper, one that can be narrowed until it does. Empty: none."""
    max_steps: int = 0
    """Optimiser steps of all finished trials together, after which no trial is begun; 0: no limit."""
    time_limit: float = 0.0
    """Seconds of search in all, resumed parts added up, after which no trial is begun; 0: none."""
    group_size: int = 1
    """MPI ranks that train one model together."""
    keep_weights: int = 50
    """The weights of so many best trials and of as many latest ones stay on disk. So do those of the trials that the stopping
    rule lets go on from each rung, and of as many more there. Donors of running trials are always kept."""

    def __post_init__(self) -> None:
        if self.objective not in (known := (*OBJECTIVES, IN_THE_FIELD)):
            raise ConfigError(f'search.objective = "{self.objective}": unknown; known: {", ".join(known)}')
        if self.rank_by not in RANKINGS:
            raise ConfigError(f'search.rank_by = "{self.rank_by}": unknown; known: {", ".join(RANKINGS)}')
        at_least(1, "search", max_trials=self.max_trials, group_size=self.group_size, keep_weights=self.keep_weights)
        if len(self.suggestions) > self.max_trials:
            raise ConfigError(
                f"search.max_trials = {self.max_trials}: less than the {len(self.suggestions)} of search.suggestions, all of "
                "which are tried; raise it"
            )
        at_least(0, "search", score_examples=self.score_examples, max_steps=self.max_steps, time_limit=self.time_limit)
