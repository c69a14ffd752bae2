"""In which groups recordings are: by speaker, by length, and by columns of a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcnas.core.errors import ConfigError
from hpcnas.data import LISTED
from hpcnas.data.corpus import DataConfig, Example
from hpcnas.data.listed import speaker_in
from hpcnas.data.splitting import source_of

UP_TO_S = (3.0, 10.0, 30.0)
"""Durations that tests of language recognisers tell apart (NIST LRE)."""
SPEAKER, DURATION = "speaker", "duration"


def groups(config: DataConfig, split: str, examples: Sequence[Example]) -> Mapping[str, Sequence[str]]:
    """For each thing that groups differ in, the group of every example; empty where it is not known.

    Raises:
        ConfigError: for ``data.groups`` that no manifest has.
    """
    source = source_of(config)
    by_place = LISTED[config.name].fields_of(config, split) if config.name in LISTED else {}
    told = [by_place.get((example.path, example.start_s), {}) for example in examples]
    speakers = [speaker_in(fields) or source(example.path) or "" for example, fields in zip(examples, told)]
    found: dict[str, Sequence[str]] = {SPEAKER: speakers}
    if any(example.length_s for example in examples):
        found[DURATION] = [_duration(example) for example in examples]
    if config.groups and config.name not in LISTED:
        raise ConfigError(
            f'data.groups = {list(config.groups)}: are columns of a manifest, and data.name = "{config.name}" has none'
        )
    for column in config.groups:
        if not any(column in fields for fields in by_place.values()):
            known = sorted({name for fields in by_place.values() for name in fields})
            raise ConfigError(f'data.groups names "{column}": the manifest for {split} has {", ".join(known)}')
        found[column] = [_text(fields.get(column)) for fields in told]
    return found


def _duration(example: Example) -> str:
    length_s = example.spoken_s or example.length_s
    below = 0.0
    for most in UP_TO_S:
        if length_s <= most + 1e-3:
            return f"{below:g} to {most:g} s"
        below = most
    return f"over {below:g} s"


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
