"""How long an int8 graph takes on a microcontroller, told from what it computes.

Banbury et al., MicroNets, MLSys 2021 (arXiv:2010.11267), find the latency of such models on a Cortex-M4 and a Cortex-M7 linear
in their number of operations. Here each kind of operation has its own cycles. An estimate, for choosing between towers: the
device has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hpcnas.core.errors import ConfigError


@dataclass(frozen=True)
class Work:
    """What one inference computes: multiply-accumulates of three kinds, and the elements that all other operators give."""

    convolution: int = 0
    depthwise: int = 0
    dense: int = 0
    """Of dense layers and of products of matrices."""
    element: int = 0

    @property
    def macs(self) -> int:
        return self.convolution + self.depthwise + self.dense


@dataclass(frozen=True, kw_only=True)
class Microcontroller:
    """A clock, and the cycles of each multiply-accumulate of a kind and of each element of all other operators."""

    mhz: float
    convolution: float
    depthwise: float
    dense: float
    element: float
    """Of an addition, a transpose, a mean and the like."""
    source: str = ""
    """Where the figures are from."""

    def __post_init__(self) -> None:
        for name in _FIGURES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ConfigError(f"{name} = {value!r}: must be a positive number")

    def ms(self, work: Work) -> float:
        """Milliseconds of one inference."""
        cycles: float = sum(getattr(self, kind) * amount for kind, amount in vars(work).items())
        return cycles / self.mhz / 1000


_FIGURES = tuple(field.name for field in fields(Microcontroller) if field.name != "source")

MICROCONTROLLERS: Mapping[str, Microcontroller] = {
    "cortex-m4": Microcontroller(
        mhz=120, convolution=6.8, depthwise=20, dense=4.7, element=10,
        source="STM32L4R5ZI with TensorFlow Lite Micro: the reference results of MLPerf Tiny v0.5 (Banbury et al., 2021, "
        "arXiv:2106.07597), of ResNet-8 (12.5M MACs, 704 ms), the autoencoder (0.27M, 10.4 ms) and DS-CNN (2.7M, 182 ms), each "
        "by the layers that it mostly has; elements are assumed",
    ),
    "cortex-m7": Microcontroller(
        mhz=216, convolution=1.7, depthwise=5, dense=2.1, element=2.5,
        source="STM32F746ZG with CMSIS-NN: Lai et al., 2018 (arXiv:1801.06601), Table 1: 24.7M operations in 99.1 ms, the "
        "dense layer's 20k in 0.1 ms; depthwise layers and elements in the ratios of cortex-m4",
    ),
}  # fmt: skip
"""By name; ``space.device`` takes a TOML file of one's own too."""


def of_table(table: Mapping[str, Any]) -> Microcontroller:
    """The microcontroller that a table of one's own describes; raises ConfigError for a key that is missing or unknown."""
    known = {field.name for field in fields(Microcontroller)}
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"unknown key {unknown[0]}; known: {', '.join(known - {'source'})}, source")
    if missing := [name for name in _FIGURES if name not in table]:
        raise ConfigError(f"{missing[0]} is missing; needed: {', '.join(_FIGURES)}")
    return Microcontroller(**table)
