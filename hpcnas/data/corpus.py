"""What a corpus is before any audio is read: labelled stretches of recordings in three splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data.problems import printable

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which speech, and what is to be told apart in it."""

    name: str = "builtin_kws"
    """``builtin_kws``, ``builtin_lid`` (both synthesised on first use), ``speech_commands`` (that folder layout, at ``path``),
    ``language_folders`` (one folder per class, at ``path``), or ``manifest`` (lists of recordings)."""
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
    """What a model sees at once. Shorter recordings are padded at their end; of longer ones training takes random windows and
    evaluation the mean over all (``speech_commands``: the first window)."""
    longest_s: float = 30.0
    """What lies behind this in a recording is not used."""
    manifests: tuple[str, ...] = ()
    """JSON lines, ``.csv`` or ``.tsv``: one file each for train, validation and test."""
    path_column: str = ""
    """Column of a manifest with the recording's path; empty: the usual names."""
    label_column: str = ""
    """Column of a manifest with the class; empty: the usual names."""
    source_pattern: str = ""
    """Regular expression whose first group, at the start of a recording's name, is its speaker or source; those are kept
    together where a corpus without lists is divided. Empty: the patterns of known corpora."""
    validation_percent: float = 10.0
    """Of the sources, likewise."""
    test_percent: float = 10.0
    all_is_test: bool = False
    """``language_folders``: the whole folder is one test split, for a model that is finished."""
    on_bad_file: str = "fail"
    """``fail``: a recording that cannot be read ends the program, with a summary of all of them; ``skip``: it is left out."""
    cache: str = ""
    """Folder for synthesised speech and features; empty: ``$HPCNAS_CACHE`` or ``~/.cache/hpcnas``."""

    def __post_init__(self) -> None:
        if self.protocol not in ("12", "all"):
            raise ConfigError(f'data.protocol = "{self.protocol}": must be "12" or "all"')
        if self.protocol == "12" and not self.keywords:
            raise ConfigError('data.keywords is empty: name keywords, or set data.protocol = "all"')
        if (held_out := self.validation_percent + self.test_percent) >= 100:
            raise ConfigError(f"data.validation_percent + data.test_percent = {held_out}: must be below 100")
        if not self.window_s <= self.longest_s:
            raise ConfigError(f"data.longest_s = {self.longest_s}: must not be below data.window_s = {self.window_s}")
        for name in ("unknown_percent", "silence_percent", "validation_percent", "test_percent"):
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
    spoken_s: float = 0.0
    """What of it is not such padding; 0: all counts, padding too, as in the published protocols of keyword spotting."""
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


def stretch_s(duration_s: float, config: DataConfig) -> float:
    """How much of a recording is used: never less than a window, which pads it."""
    return max(config.window_s, min(duration_s, config.longest_s))


def checked(index: CorpusIndex, where: str, all_is_test: bool = False) -> CorpusIndex:
    """The same, once it can be trained and judged on, or judged on alone.

    Raises:
        DataError: for a class name that cannot be printed, an empty split, a class that is missing in one, or a recording that
            is in two.
    """
    if odd := [name for name in index.class_names if not (name.isprintable() and name.strip())]:
        raise DataError(f"{where}: class names must be printable text, unlike {', '.join(map(ascii, odd))}; rename them")
    in_split: dict[Path, list[tuple[float, float, str]]] = {}
    for split in SPLITS:
        examples = index.splits[split]
        if all_is_test and split != "test":
            continue
        if not examples:
            raise DataError(f"{where}: the {split} split is empty")
        there = {example.label for example in examples}
        if not all_is_test and (absent := [name for label, name in enumerate(index.class_names) if label not in there]):
            raise DataError(f"{where}: the {split} split has no {', '.join(absent)}; every class must be in every split")
    leaks = []
    for split in SPLITS:
        for example in index.splits[split]:
            # Stretches of noise may be drawn from one recording in every split; of speech they must not overlap.
            end_s = example.start_s + (example.spoken_s or 1e-6)
            stretches = in_split.setdefault(example.path.resolve(), [])
            if any(other != split and example.start_s < end and start < end_s for start, end, other in stretches):
                leaks.append(printable(str(example.path)))
            stretches.append((example.start_s, end_s, split))
    if leaks:
        raise DataError(f"{where}: {len(leaks)} recording(s) are in two splits, first {', '.join(leaks[:3])}; keep each in one")
    return index
