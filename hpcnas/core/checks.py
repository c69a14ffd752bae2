"""Checks of configured values, which name the user's keys, and of numbers that are counted and ranked."""

from __future__ import annotations

import numpy as np

from hpcnas.core.errors import ConfigError, MetricError


def at_least(least: float, table: str, **values: float) -> None:
    """Raise ConfigError unless every value is at least ``least``; its name is a key of ``table``."""
    for key, value in values.items():
        if not value >= least:
            raise ConfigError(f"{table}.{key} = {value}: must be at least {least}")


def between(low: float, high: float, table: str, **values: float) -> None:
    """Raise ConfigError unless every value lies between the two; its name is a key of ``table``."""
    for key, value in values.items():
        if not low <= value <= high:
            raise ConfigError(f"{table}.{key} = {value}: must lie between {low} and {high}")


def finite(what: str, values: np.ndarray) -> None:
    """Raise MetricError unless all (N, ...) values are finite: a comparison with NaN is false, and would count as a right
    answer."""
    if not np.isfinite(values).all():
        rows = int((~np.isfinite(values.reshape(len(values), -1))).any(1).sum())
        raise MetricError(f"{what} not finite in {rows} of {len(values)} examples")
