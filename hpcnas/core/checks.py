"""Checks of configured values, by the keys that the user knows."""

from __future__ import annotations

from hpcnas.core.errors import ConfigError


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
