"""Limits on what an architecture may cost, checked before any training is spent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hpcnas.core.errors import ConfigError
from hpcnas.core.trial import Cost

LIMITS = {
    "max_params": "params",
    "max_macs": "macs",
    "max_activations": "activations",
    "max_flash_kb": "flash_kb",
    "max_arena_kb": "arena_kb",
    "max_device_ms": "device_ms",
    "max_latency_ms": "latency_ms",
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits per model; 0 means none."""

    max_params: int = 0
    max_macs: int = 0
    max_activations: int = 0
    max_flash_kb: float = 0.0
    max_arena_kb: float = 0.0
    max_device_ms: float = 0.0
    max_latency_ms: float = 0.0
    """Of one example on the device that trains. Only the group that is about to train can measure it."""

    def __post_init__(self) -> None:
        for name in LIMITS:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be positive, or 0 for no limit")

    def objection(self, cost: Cost) -> str:
        """The first limit that ``cost`` exceeds, in words; empty if it keeps all of them."""
        for limit, most, figure in self._limits:
            if getattr(cost, figure) > most:
                return f"{figure} = {getattr(cost, figure):.10g}, over {limit} = {most:.10g}"
        return ""

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit that is known before training."""
        return any(limit != "max_latency_ms" for limit, _, _ in self._limits)

    @cached_property
    def _limits(self) -> list[tuple[str, float, str]]:
        return [(limit, getattr(self, limit), figure) for limit, figure in LIMITS.items() if getattr(self, limit)]
