"""What a corpus is before any audio is read: labelled stretches of recordings in three splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import ConfigError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which speech, and what is to be told apart in it."""

    name: str = "builtin_kws"
    """``builtin_kws`` (synthesised on first use) or ``speech_commands`` (that folder layout, at ``path``)."""
    path: str = ""
    """Root folder of the corpus; for ``builtin_kws`` empty means below ``cache``."""
    protocol: str = "12"
    """``12``: ten keywords, ``_unknown_``, ``_silence_``; ``all``: every word folder is a class."""
    keywords: tuple[str, ...] = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    """Keywords of protocol ``12``."""
    unknown_percent: float = 10.0
    """Examples of other words, as a share of the keywords' examples; 100 or more takes all there are, as the built-in speech
    always does."""
    silence_percent: float = 10.0
    """Stretches of background noise, likewise."""
    window_s: float = 1.0
    """Length of an example; recordings are cut or padded at their end."""
    on_bad_file: str = "fail"
    """``fail``: a recording that cannot be read ends the program, with a summary of all of them; ``skip``: it is left out."""
    cache: str = ""
    """Folder for synthesised speech and features; empty: ``$HPCNAS_CACHE`` or ``~/.cache/hpcnas``."""

    def __post_init__(self) -> None:
        if self.protocol not in ("12", "all"):
            raise ConfigError(f'data.protocol = "{self.protocol}": must be "12" or "all"')
        if self.protocol == "12" and not self.keywords:
            raise ConfigError('data.keywords is empty: name keywords, or set data.protocol = "all"')
        for name in ("unknown_percent", "silence_percent"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} = {getattr(self, name)}: must not be negative")
        if self.on_bad_file not in ("fail", "skip"):
            raise ConfigError(f'data.on_bad_file = "{self.on_bad_file}": must be "fail" or "skip"')
        if not 0.1 <= self.window_s <= 60:
            raise ConfigError(f"data.window_s = {self.window_s}: must lie between 0.1 and 60")


@dataclass(frozen=True)
class Example:
    """A labelled stretch of a recording."""

    path: Path
    label: int
    start_s: float = 0.0
    length_s: float = 0.0
    """0: one window. Shorter recordings are padded at their end."""
    gain: float = 1.0


@dataclass(frozen=True)
class CorpusIndex:
    """All examples of a corpus, in an order that depends on its files and the configuration alone."""

    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Example, ...]]
    noise: tuple[Path, ...]
    """Recordings of background noise, for augmentation; may be empty."""

    @property
    def examples(self) -> tuple[Example, ...]:
        return tuple(example for split in SPLITS for example in self.splits[split])
