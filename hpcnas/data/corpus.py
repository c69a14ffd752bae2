"""What a corpus is before any audio is read: labelled stretches of recordings in three splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcnas.core.corpus_identity import CorpusIdentity
from hpcnas.core.errors import ConfigError
from hpcnas.data.conditions import AS_RECORDED, Conditions, ConditionsConfig
from hpcnas.data.inside import Inside
from hpcnas.data.spelling import composed

SPLITS = ("train", "validation", "test")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
"""Classes that are no keywords."""
LEAST_WORDS = 5
"""Of which a fifth is one."""
NO_LABEL = -1
"""Of noise, which is no class."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(ConditionsConfig):
    """Which speech, and what is to be told apart in it."""

    name: str = "builtin_kws"
    """``builtin_kws``, ``builtin_lid`` (both synthesised on first use), ``speech_commands`` (that folder layout, at ``path``),
    ``language_folders`` (one folder per class, at ``path``), ``manifest`` (lists of recordings), or, at
    ``path`` or in ``manifests``, ``kaldi`` (data folders), ``lhotse`` (manifests), ``huggingface`` (Arrow and Parquet files) or
    ``webdataset`` (tar shards, NeMo's too)."""
    path: str = ""
    """Root folder of the corpus, or a file that is one; for ``builtin_kws`` empty means below ``cache``."""
    protocol: str = "12"
    """``12``: ten keywords, ``_unknown_``, ``_silence_``; ``all``: every word folder is a class."""
    keywords: tuple[str, ...] = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    """Keywords of protocol ``12``."""
    unknown_percent: float = 10.0
    """Examples of other words, as a share of the keywords' examples, the same in every run; 100 or more takes all there are, as
    the built-in speech always does."""
    silence_percent: float = 10.0
    """Stretches of background noise, likewise."""
    window_s: float = 1.0
    """What a model sees at once. Shorter recordings are padded at their end; of longer ones training takes random windows and
    evaluation the mean over all (``speech_commands``: the first window)."""
    longest_s: float = 30.0
    """What lies behind this in a recording is not used."""
    manifests: tuple[str, ...] = ()
    """One each for train, validation and test: JSON lines, ``.csv`` or ``.tsv``; for other layouts what holds a split, such
    as a folder, a file or ``"train-{000..127}.tar"``."""
    path_column: str = ""
    """Column of a manifest with the recording's path; empty: the usual names."""
    label_column: str = ""
    """Column of a manifest with the class; empty: the usual names."""
    source_pattern: str = ""
    """Regular expression whose first group, at the start of a recording's name, is its speaker or source; those are kept
    together where a corpus without lists is divided. Empty: the patterns of known corpora."""
    validation_percent: float = 10.0
    """Of the sources, where a corpus without lists is divided; so is the next."""
    test_percent: float = 10.0
    negatives: tuple[str, ...] = ()
    """Folders, or lists as ``manifests`` are, of audio without keywords, hours of it: false alarms are counted there, and
    thresholds chosen. Models learn from none of it, but for the next keys. ``builtin``: sentences in eight languages, made on
    first use; with ``builtin_kws`` that is the default."""
    negative_hours: float = 7.0
    """Of ``builtin``: three sevenths for validation, the others for the test; as many more where training learns some."""
    negative_percent: float = 0.0
    """Windows of the training part of ``negatives`` as examples of ``_unknown_``, as a share of the keywords' examples."""
    mine_negatives: int = 0
    """The finals learn so many windows of that part that the search's best model takes for keywords most surely as examples of
    ``_unknown_``; so do students, of the ensemble's; 0: none."""
    mined_negatives: tuple[str, ...] = ()
    """Lists that ``hpcnas.mine`` wrote of such windows, for all of the run."""
    confusable_words: int = 0
    """So many words for each keyword that differ from it in one sound, spoken by eSpeak NG: examples of ``_unknown_`` in
    training, but a fifth each for validation and test, where ``evaluate`` counts which are taken for keywords; 0: none."""
    confusable_language: str = "en-us"
    """Of the keywords, as eSpeak NG calls it."""
    groups: tuple[str, ...] = ()
    """Columns of the test's manifest, such as ``accent`` or ``gender``, by which ``evaluate`` tells the worst group."""
    all_is_test: bool = False
    """Everything is one test split, for a model that is finished: all recordings of a folder, or the one manifest that is
    named."""
    on_bad_file: str = "fail"
    """``fail``: a recording that cannot be read ends the program, with a summary of all of them; ``skip``: it is left out."""
    cache: str = ""
    """Folder for synthesised speech and features; empty: ``$HPCNAS_CACHE`` or ``~/.cache/hpcnas``."""

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """With built-in audio without keywords for built-in keywords, unless others were given."""
        is_builtin = given.get("name", cls.name) == "builtin_kws"
        return {**({"negatives": ("builtin",)} if is_builtin else {}), **given}

    def __post_init__(self) -> None:
        ConditionsConfig.__post_init__(self)
        if self.protocol not in ("12", "all"):
            raise ConfigError(f'data.protocol = "{self.protocol}": must be "12" or "all"')
        if self.protocol == "12" and not self.keywords:
            raise ConfigError('data.keywords is empty: name keywords, or set data.protocol = "all"')
        for name in ("keywords", "manifests", "negatives", "mined_negatives", "groups", "noise", "rooms", "codecs"):
            values = [composed(value) for value in getattr(self, name)]
            if twice := next((value for value in values if values.count(value) > 1), None):
                raise ConfigError(f'data.{name} names "{twice}" twice')
        if (held_out := self.validation_percent + self.test_percent) >= 100:
            raise ConfigError(f"data.validation_percent + data.test_percent = {held_out}: must be below 100")
        if not self.window_s <= self.longest_s:
            raise ConfigError(f"data.longest_s = {self.longest_s}: must not be below data.window_s = {self.window_s}")
        for name in ("unknown_percent", "silence_percent", "validation_percent", "test_percent", "negative_percent"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.{name} = {getattr(self, name)}: must not be negative")
        for name, (least, most) in {"mine_negatives": (0, 1_000_000), "confusable_words": (LEAST_WORDS, 1000)}.items():
            if (value := getattr(self, name)) and not least <= value <= most:
                raise ConfigError(f"data.{name} = {value}: must be 0 or lie between {least} and {most}")
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.confusable_language):
            raise ConfigError(
                f'data.confusable_language = "{self.confusable_language}": is no language, such as "en-us" or "de"'
            )
        if not self.negatives and (key := self.learns_negatives):
            raise ConfigError(f"{key}: comes from data.negatives, which is empty; name some there")
        if self.on_bad_file not in ("fail", "skip"):
            raise ConfigError(f'data.on_bad_file = "{self.on_bad_file}": must be "fail" or "skip"')
        if not 0.5 <= self.negative_hours <= 1000:
            raise ConfigError(f"data.negative_hours = {self.negative_hours}: must lie between 0.5 and 1000")
        if not 0.1 <= self.window_s <= 60:
            raise ConfigError(f"data.window_s = {self.window_s}: must lie between 0.1 and 60")

    @property
    def learns_negatives(self) -> str:
        """The key by which training learns from ``negatives``; empty if it does not."""
        keys = ("negative_percent", "mine_negatives", "mined_negatives")
        return next((f"data.{key} = {value}" for key in keys if (value := getattr(self, key))), "")

    @property
    def as_it_is(self) -> DataConfig:
        """The same recordings without what is made of them, or added to them, for training."""
        plain = replace(self, noise=(), rooms=(), codecs=(), gain_db=(0.0, 0.0), confusable_words=0)
        return replace(plain, negative_percent=0.0, mine_negatives=0, mined_negatives=())


@dataclass(frozen=True, slots=True)  # there may be millions
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
    name: str = field(default="", repr=False)
    """What it is known by wherever its folder is; empty: its path below the corpus' root."""
    inside: Inside | None = field(default=None, repr=False)
    """Where it is, if it is in a larger file: its path is then what it is called."""

    @property
    def source(self) -> Path | Inside:
        """What is read."""
        return self.inside or self.path

    @property
    def file(self) -> Path:
        """The file that it is, or is in."""
        return self.inside.file if self.inside else self.path

    @property
    def order(self) -> tuple[Path, tuple[int, int], float]:
        """In which examples are read, so that no file is read backwards."""
        return self.file, self.inside.order if self.inside else (0, 0), self.start_s


@dataclass(frozen=True)
class Kept:
    """That an index is kept in a file, see ``known_index``."""

    file: Path
    fingerprint: str
    """Of the features, see ``features.fingerprint``."""
    identity: CorpusIdentity
    """As it was when the file was made; without names, and without the settings by which the corpus is heard."""


@dataclass(frozen=True)
class CorpusIndex:
    """All examples of a corpus, in an order that depends on its files and the configuration alone."""

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Example]]
    noise: tuple[Example, ...]
    """Stretches of background noise, for augmentation: none of which the test is made; may be empty."""
    copies: Mapping[str, tuple[Conditions | None, ...]] = field(default_factory=dict)
    """By split, how often each recording is kept, and in which conditions (None: as it is); splits that are not named: once."""
    kept: Kept | None = field(default=None, init=False, compare=False)
    """Where it comes from a file; an index that was changed from it (``replace``) does not."""

    def copies_of(self, split: str) -> tuple[Conditions | None, ...]:
        return self.copies.get(split, AS_RECORDED)

    def with_more(self, split: str, examples: Sequence[Example]) -> CorpusIndex:
        return replace(self, splits={**self.splits, split: (*self.splits[split], *examples)})

    @property
    def keywords(self) -> tuple[str, ...]:
        return tuple(name for name in self.class_names if name not in (UNKNOWN, SILENCE))

    @property
    def examples(self) -> tuple[Example, ...]:
        return tuple(example for split in SPLITS for example in self.splits[split])


def stretch_s(duration_s: float, config: DataConfig) -> float:
    """How much of a recording is used: never less than a window, which pads it."""
    return max(config.window_s, min(duration_s, config.longest_s))
