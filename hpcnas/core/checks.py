"""Checks of configured values, by the keys that the user knows, and of what is counted and ranked."""

from __future__ import annotations

import numpy as np

from hpcnas.core.errors import ConfigError, MetricError


def at_least(least: float, table: str, **values: float) -> None:
    """Raise ConfigError unless every value, a key of ``table``, is that large."""
    for key, value in values.items():
        if not value >= least:
            raise ConfigError(f"{table}.{key} = {value}: must be at least {least}")


def between(low: float, high: float, table: str, **values: float) -> None:
    """Raise ConfigError unless every value, a key of ``table``, lies between the two."""
    for key, value in values.items():
        if not low <= value <= high:
            raise ConfigError(f"{table}.{key} = {value}: must lie between {low} and {high}")


def finite(what: str, values: np.ndarray) -> None:
    """Raise MetricError unless all of (N, ...) values are finite: comparisons with NaN are false and would count as right."""
    if not np.isfinite(values).all():
        rows = int((~np.isfinite(values.reshape(len(values), -1))).any(1).sum())
        raise MetricError(f"{what} not finite in {rows} of {len(values)} examples")
