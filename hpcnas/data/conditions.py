"""Conditions in which recordings are heard: in noise, in a room, quieter, through a telephone. What they are, before any sound
is read; ``mixing`` applies them, ``surroundings`` finds noise and rooms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import ConfigError
from hpcnas.data.codecs import CODECS


@dataclass(frozen=True, kw_only=True)
class ConditionsConfig:
    """Conditions of training recordings, on the waveform, when features are computed. Validation and test stay as recorded."""

    noise: tuple[str, ...] = ()
    """Folders of noise of any kind. A quarter of it is kept for tests (``hpcnas.evaluate --conditions``)."""
    snr_db: tuple[float, float] = (0.0, 20.0)
    """Signal to noise ratio of the noise, drawn uniformly; of mean powers over the recording."""
    rooms: tuple[str, ...] = ()
    """Folders of impulse responses of rooms, or ``simulated``. A quarter is kept for tests."""
    room_m: tuple[float, float] = (3.0, 10.0)
    """Of simulated rooms: length and width."""
    distance_m: tuple[float, float] = (0.5, 4.0)
    """Of simulated rooms: from mouth to microphone."""
    reverberation_s: tuple[float, float] = (0.2, 0.8)
    """Of simulated rooms: the time in which sound decays by 60 dB, by Sabine's formula."""
    gain_db: tuple[float, float] = (0.0, 0.0)
    """Change of level, drawn uniformly."""
    codecs: tuple[str, ...] = ()
    """What recordings come through: ``telephone``, ``opus``."""
    copies: int = 4
    """So often each training recording is kept where any of this is given: once as it is, and in conditions of its own each
    other time. An epoch hears one copy of each, drawn anew, and so takes no longer; features take so many times the disk."""
    copies_seed: int = 0
    """Another number draws other conditions. Runs of several ``seed`` share them, as they share the features."""

    def __post_init__(self) -> None:
        for name in ("snr_db", "gain_db", "room_m", "distance_m", "reverberation_s"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(f"data.{name} = {[low, high]}: must be a pair, the lower one first")
            if not name.endswith("_db") and low <= 0:
                raise ConfigError(f"data.{name} = {[low, high]}: must be above 0")
            if name.endswith("_db") and not -100 <= low <= high <= 100:
                raise ConfigError(f"data.{name} = {[low, high]}: must lie between -100 and 100")
        if self.room_m[1] > 100 or self.reverberation_s[1] > 3:
            raise ConfigError(
                f"data.room_m = {list(self.room_m)}, reverberation_s = {list(self.reverberation_s)}: rooms are simulated up to "
                "100 m and 3 s; name a folder of impulse responses for others"
            )
        if self.distance_m[0] > self.room_m[0] / 2:
            raise ConfigError(
                f"data.distance_m = {list(self.distance_m)}: does not fit into a room of {self.room_m[0]:g} m (data.room_m)"
            )
        if unknown := next((name for name in self.codecs if name not in CODECS), None):
            raise ConfigError(f'data.codecs names "{unknown}": unknown; known: {", ".join(CODECS)}')
        if not 2 <= self.copies <= 100:
            raise ConfigError(f"data.copies = {self.copies}: must lie between 2 and 100")

    @property
    def has_conditions(self) -> bool:
        """Whether any are given."""
        return bool(self.noise or self.rooms or self.codecs or self.gain_db != (0.0, 0.0))


@dataclass(frozen=True)
class Sound:
    """A recording of noise, or an impulse response."""

    path: Path
    name: str
    """What it is known by wherever its folder is: the folder's own name, and what is below it, with ``/``."""


@dataclass(frozen=True)
class Conditions:
    """What may be drawn for a recording."""

    noise: tuple[Sound, ...] = ()
    snr_db: tuple[float, float] = (0.0, 0.0)
    rooms: tuple[Sound, ...] = ()
    gain_db: tuple[float, float] = (0.0, 0.0)
    codecs: tuple[str, ...] = ()
    noise_share: float = 1.0
    """Of the recordings that get noise."""
    room_share: float = 1.0
    codec_share: float = 1.0
    seed: int = 0

    @property
    def sounds(self) -> tuple[Sound, ...]:
        return (*self.noise, *self.rooms)


AS_RECORDED = (None,)
"""The copies of a recording where there is just the recording."""
