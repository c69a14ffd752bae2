"""Training settings that are chosen together with the architectures: Mazzawi et al., Interspeech 2019, tune them "in parallel
to the search"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hpcnas.core.checks import between
from hpcnas.core.errors import ConfigError
from hpcnas.core.trial import Result, Trial

Settings = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """Which training settings are tuned, each between two values. An empty pair leaves a setting as configured."""

    name: str = "none"
    """``none``, ``random``, or ``tpe``: tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""
    learning_rate: tuple[float, ...] = (3e-3, 3e-2)
    """On a logarithmic scale."""
    weight_decay: tuple[float, ...] = (1e-3, 1e-1)
    """On a logarithmic scale."""
    dropout: tuple[float, ...] = (0.0, 0.3)
    label_smoothing: tuple[float, ...] = ()
    augmentation: tuple[float, ...] = ()
    """Strength of the augmentation in trials, instead of ``augmentation.in_trials``."""
    shift: tuple[float, ...] = ()
    """This and the following: keys of ``augmentation``, one by one."""
    tempo: tuple[float, ...] = ()
    warp: tuple[float, ...] = ()
    volume_db: tuple[float, ...] = ()
    noise_probability: tuple[float, ...] = ()
    frequency_mask_width: tuple[float, ...] = ()
    time_mask_width: tuple[float, ...] = ()
    mixup: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in ("none", "random", "tpe"):
            raise ConfigError(f'tuning.name = "{self.name}": unknown; known: none, random, tpe')
        for key, values in self.ranges.items():
            if len(values) != 2 or not values[0] < values[1]:
                raise ConfigError(f"tuning.{key} = {list(values)}: must be a pair, the lower value first, or empty")
            between(1e-12 if key in LOGARITHMIC else 0, 1, "tuning", **{key: values[0]})
            between(0, LARGEST.get(key, 1), "tuning", **{key: values[1]})

    @property
    def ranges(self) -> dict[str, tuple[float, ...]]:
        """The settings that are tuned."""
        keys = (*OF_TRAINING, "augmentation", *OF_AUGMENTATION)
        return {key: getattr(self, key) for key in keys if getattr(self, key)}


OF_TRAINING = ("learning_rate", "weight_decay", "dropout", "label_smoothing")
OF_AUGMENTATION = (
    "shift", "tempo", "warp", "volume_db", "noise_probability", "frequency_mask_width", "time_mask_width", "mixup",
)  # fmt: skip
LARGEST = {"volume_db": 30, "frequency_mask_width": 100, "time_mask_width": 1000}
"""Upper limits of ranges whose values are not shares."""
LOGARITHMIC = ("learning_rate", "weight_decay")


class Tuner(Protocol):
    """Is asked once for each trial and told every result; a resumed search tells it the earlier results first."""

    def suggest(self, trial: int) -> Settings:
        """Settings for a new trial, sorted by name."""

    def tell(self, trial: Trial, result: Result) -> None:
        """What came of a trial."""


class NoTuner:
    """All trials train as configured."""

    def suggest(self, trial: int) -> Settings:
        return ()

    def tell(self, trial: Trial, result: Result) -> None:
        pass
