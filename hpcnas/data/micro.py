"""The front end of TensorFlow Lite Micro, which devices run in integers (micro_speech, microWakeWord, ESPHome): its own C code,
as pymicro-features has it.

Every 10 ms it takes a window of 30 ms of 16-bit samples, sums magnitudes in 40 mel bands, removes a running estimate of each
band's noise, divides by a power of that estimate (PCAN, the integer form of PCEN: Wang et al., ICASSP 2017,
doi:10.1109/ICASSP.2017.7953242) and gives 64 times the natural logarithm. The estimate begins at nothing, as on a device that
is switched on. Shape letters: ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from hpcnas.core.errors import ConfigError
from hpcnas.data import audio
from hpcnas.data.features import FilterBank, frames_of

HOP = 160
"""Samples from one window to the next, and all that the package takes at once."""
AHEAD = 2
"""Hops that a window reaches beyond its first."""
AT_ONCE = 1000 * HOP
"""Samples that are converted at a time."""
UNIT = 2.5
"""The package gives the C code's integers times 10 / 256; over this they are over 64: natural logarithms, exact in float16."""


@dataclass(frozen=True, kw_only=True)
class MicroBank(FilterBank):
    """The only settings that the front end has; others are refused."""

    remembers: ClassVar[bool] = True
    kind: str = "micro"
    window_ms: float = 30.0
    low_hz: float = 125.0
    high_hz: float = 7500.0

    def __post_init__(self) -> None:
        for own in fields(self):
            if (value := getattr(self, own.name)) != own.default:
                raise ConfigError(
                    f"features.{own.name} = {value}: must be {own.default}, all that the front end of "
                    'features.kind = "micro" has; set it so, or leave it out'
                )

    def stream(self) -> MicroStream:
        return MicroStream(self)

    def check(self) -> None:
        library()

    @property
    def described(self) -> dict[str, dict[str, Any]]:
        """All that a device needs to make the same features, by the names of the C code; inputs are its integers times
        ``scale``."""
        return {
            "micro_frontend": {
                "samp_freq": audio.RATE,
                "window": {"size_ms": round(self.window_ms), "step_size_ms": round(self.hop_ms)},
                "filterbank": {
                    "num_channels": self.bands,
                    "lower_band_limit": self.low_hz,
                    "upper_band_limit": self.high_hz,
                },
                "noise_reduction": {
                    "smoothing_bits": 10,
                    "even_smoothing": 0.025,
                    "odd_smoothing": 0.06,
                    "min_signal_remaining": 0.05,
                },
                "pcan_gain_control": {"enable_pcan": True, "strength": 0.95, "offset": 80.0, "gain_bits": 21},
                "log_scale": {"enable_log": True, "scale_shift": 6},
                "scale": 1 / 64,
            }
        }


def library() -> ModuleType:
    """The package that holds the C code; raises ConfigError where it is not installed."""
    try:
        import pymicro_features  # not above: only this kind of features needs it
    except ImportError as error:
        raise ConfigError(
            f"""features.kind = "micro" needs pymicro-features ({error}): pip install 'hpcnas[micro]'"""
        ) from error
    return pymicro_features


class MicroStream:
    """Features of samples that come in pieces: the same, to the bit, however they are divided."""

    def __init__(self, bank: MicroBank) -> None:
        self._bank, self._front_end = bank, library().MicroFrontend()
        self._rest = np.zeros(0, np.int16)
        self._samples = 0
        self._ready: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(F, T) of the frames that these samples complete; T may be 0."""
        self.accept(samples)
        return self.ready()

    def accept(self, samples: np.ndarray) -> None:
        self._samples += len(samples)
        for start in range(0, len(samples), AT_ONCE):
            self._feed(as_integers(samples[start : start + AT_ONCE]))

    def finish(self) -> np.ndarray:
        """(F, T) of the last frames, which look into the zeros behind the end."""
        windows = frames_of(self._samples / audio.RATE, self._bank)
        self._feed(np.zeros((windows + AHEAD) * HOP - self._samples, np.int16))
        return self.ready()

    def ready(self) -> np.ndarray:
        """(F, T) of the frames that were not given yet."""
        frames, self._ready = self._ready, []
        return np.stack(frames, axis=1) if frames else np.zeros((self._bank.bands, 0), np.float32)

    def _feed(self, samples: np.ndarray) -> None:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % HOP
        for start in range(0, whole, HOP):
            if features := self._front_end.process_samples(samples[start : start + HOP].tobytes()).features:
                self._ready.append(np.array(features, np.float32) / np.float32(UNIT))
        self._rest = samples[whole:]


def as_integers(samples: np.ndarray) -> np.ndarray:
    """16-bit samples as a device has them: full scale is 1, and what exceeds it is clipped. Those of 16-bit recordings come out
    as they are in the file."""
    return np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
