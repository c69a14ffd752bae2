"""Runs against each other: the best score so far over steps, time or trials, in groups of runs that differ by seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.errors import QueryError, RunError
from hpcnas.core.significance import mean_interval, permutation_test
from hpcnas.core.trial import Result

AXES = {"steps": "optimiser steps", "time": "s of search", "trials": "trials with a result"}
IGNORED = ("seed", "data.cache", "search.max_trials", "search.max_steps", "search.time_limit", "search.keep_weights")
"""Keys that do not make another group."""
STAGES = ("ensemble", "distillation", "spotting", "cluster")
"""Tables that do not either: they are of what comes behind the search, or of where it runs."""


@dataclass(frozen=True)
class Course:
    """How far a run had come when: ascending (R,), one entry a result that has a score."""

    run: ConfiguredRun
    group: str
    axes: Mapping[str, np.ndarray]
    best: np.ndarray
    """Best score so far."""

    def at(self, axis: str, x: float | np.ndarray) -> np.ndarray:
        """Best score by then; NaN before the first."""
        place = np.searchsorted(self.axes[axis], x, "right")
        return np.where(place > 0, self.best[np.maximum(place, 1) - 1], np.nan)

    def until(self, axis: str, score: float) -> float:
        """How much it took to come to ``score``; NaN if it never did."""
        place = int(np.searchsorted(self.best, score, "left"))
        return float(self.axes[axis][place]) if place < len(self.best) else float("nan")

    def end(self, axis: str) -> float:
        return float(self.axes[axis][-1])


def courses(runs: Sequence[ConfiguredRun], keys: Sequence[str] = ()) -> list[Course]:
    """Each run's course, in its group.

    Args:
        keys: of the configuration, by whose values runs are grouped; none: by all that differ but the seed.

    Raises:
        RunError: for a run without a score.
        QueryError: for a key that no run has.
    """
    if len({run.objective for run in runs}) > 1:
        raise QueryError(f"scores cannot be compared: {', '.join(sorted({run.objective for run in runs}))}")
    return [course(run, label) for run, label in zip(runs, labels([run.config for run in runs], keys))]


def course(run: ConfiguredRun, group: str = "") -> Course:
    steps_of: dict[int, int] = {}
    rows, steps = [], 0
    for record in run.records():
        event = record.event
        if isinstance(event, Result):
            steps += event.steps - steps_of.get(event.trial, 0)
            steps_of[event.trial] = event.steps
            if event.state.has_score:
                rows.append((steps, record.elapsed, len(steps_of), event.score))
    if not rows:
        raise RunError(f"{run.dir.root}: no trial has a score yet")
    columns = np.array(rows, float).T
    return Course(run, group, dict(zip(AXES, columns[:3])), np.maximum.accumulate(columns[3]))


def labels(configs: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()) -> list[str]:
    """What tells the runs' configurations apart, such as ``strategy=random, training.epochs=8``."""
    found = [flat(config) for config in configs]
    if unknown := [key for key in keys if not any(key in one for one in found)]:
        raise QueryError(f'no run has the key "{unknown[0]}"; keys are those of config.toml, such as strategy.name')
    differ = [
        key for key in dict.fromkeys(key for one in found for key in one)
        if key not in IGNORED and key.partition(".")[0] not in STAGES and len({repr(one.get(key)) for one in found}) > 1
    ]  # fmt: skip
    # Where a part is another one, its own keys say nothing more.
    named = [key for key in differ if key.endswith(".name")]
    differ = [key for key in differ if key in named or f"{key.rpartition('.')[0]}.name" not in named]
    chosen = keys or differ
    return [", ".join(f"{key.removesuffix('.name')}={one.get(key, 'none')}" for key in chosen) or "all" for one in found]


@dataclass(frozen=True)
class Standing:
    """A group where all runs have come as far.

    Args:
        mean: of the runs' best scores.
        low: lower end of the mean's 95 % interval, by Student's t.
        high: its upper end.
        worst: the lowest of the runs' best scores.
        best: the highest.
        until: mean of what it took until the target score, over the runs that came to it.
        reached: how many did.
    """

    group: str
    runs: int
    mean: float
    low: float
    high: float
    worst: float
    best: float
    until: float
    reached: int


STANDING = ("group", "runs", "mean", "low", "high", "worst", "best", "until", "reached")


def standings(compared: Sequence[Course], axis: str, x: float, target: float) -> list[Standing]:
    """One row a group, the best first."""
    rows = []
    for name, members in groups(compared).items():
        scores = np.array([float(one.at(axis, x)) for one in members])
        took = np.array([one.until(axis, target) for one in members])
        reached = took[~np.isnan(took)]
        rows.append(
            Standing(
                name, len(members), float(scores.mean()), *mean_interval(scores), float(scores.min()), float(scores.max()),
                float(reached.mean()) if len(reached) else float("nan"), len(reached),
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: -row.mean)


def pairs(compared: Sequence[Course], axis: str, x: float) -> list[tuple[str, str, float, float]]:
    """Every two groups: how much better the first is at ``x``, and the p-value of a permutation test."""
    scores = {name: np.array([float(one.at(axis, x)) for one in of]) for name, of in groups(compared).items()}
    order = sorted(scores, key=lambda name: -scores[name].mean())
    return [
        (one, other, float(scores[one].mean() - scores[other].mean()), permutation_test(scores[one], scores[other]))
        for one, other in combinations(order, 2)
    ]


def bands(compared: Sequence[Course], axis: str, points: int = 50) -> list[tuple[str, float, float, float, float]]:
    """(group, x, mean, lowest, highest) of the best so far, from where all runs of a group have a score to where they end."""
    rows = []
    for name, members in groups(compared).items():
        start, end = max(float(one.axes[axis][0]) for one in members), min(one.end(axis) for one in members)
        for x in np.linspace(start, max(start, end), points):
            scores = np.array([float(one.at(axis, x)) for one in members])
            rows.append((name, float(x), float(scores.mean()), float(scores.min()), float(scores.max())))
    return rows


def groups(compared: Sequence[Course]) -> dict[str, list[Course]]:
    found: dict[str, list[Course]] = {}
    for one in compared:
        found.setdefault(one.group, []).append(one)
    return found


def common_end(compared: Sequence[Course], axis: str) -> float:
    """Where the first of the runs ends: as far as they can be compared."""
    return min(one.end(axis) for one in compared)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's values by ``table.key``."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        values.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return values
