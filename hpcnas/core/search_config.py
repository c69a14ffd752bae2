"""The table ``[search]`` of a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError
from hpcnas.core.metrics import OBJECTIVES

RANKINGS = {"loss": OBJECTIVES["cross_entropy"], "objective": None}
"""What trials may be ranked by: logits and labels to a figure, higher is better; None: the search's objective."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How long a search goes on, and over which groups."""

    objective: str = "accuracy"
    """What the score is, on the validation split: ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``roc_area``,
    ``cross_entropy`` (negative), or one minus ``eer``, ``cavg``, ``pairwise_eer`` or ``misses``."""
    rank_by: str = "loss"
    """What decides which trials are varied, go on and come to the finals: ``loss``, the cross entropy on the validation split,
    which tells models apart of which a few hundred recordings are right or wrong alike; or ``objective``."""
    max_trials: int = 36
    """Trials in all, failed ones included."""
    suggestions: tuple[str, ...] = ()
    """Architectures that are tried first, whether the space has them or not, such as ``"gru:units=64/dense:units=64"``."""
    zoo: tuple[str, ...] = ("fitting",)
    """Models drawn by hand that are tried next: ``fitting`` means all of the zoo that are within the limits, and one of each
    other paper that can be made narrower until it is; else their names, such as ``TENet6``, or ``all``. Empty: none."""
    max_steps: int = 0
    """Optimiser steps of all finished trials together, after which no trial is begun; 0: no limit."""
    time_limit: float = 0.0
    """Seconds of search in all, resumed parts added up, after which no trial is begun; 0: none."""
    group_size: int = 1
    """MPI ranks that train one model together."""
    keep_weights: int = 50
    """Weights of so many best trials, and of as many latest ones, stay on disk, and those of as many that the stopping rule may
    let go on from each rung, beside those that it does; donors of running trials always do."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f'search.objective = "{self.objective}": unknown; known: {", ".join(OBJECTIVES)}')
        if self.rank_by not in RANKINGS:
            raise ConfigError(f'search.rank_by = "{self.rank_by}": unknown; known: {", ".join(RANKINGS)}')
        at_least(1, "search", max_trials=self.max_trials, group_size=self.group_size, keep_weights=self.keep_weights)
        at_least(0, "search", max_steps=self.max_steps, time_limit=self.time_limit)
