"""Noise and rooms of a corpus, from folders. Each is for training or for tests, never both, by a hash of its name below the
folder, or, where a folder has four folders and more, of the folder that it is in: those of one room or one place stay together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import finding, problems, rooms
from hpcnas.data.conditions import AS_RECORDED, Conditions, Sound
from hpcnas.data.corpus import CorpusIndex, DataConfig
from hpcnas.data.finding import Unused
from hpcnas.data.problems import SHOWN, Problem, printable
from hpcnas.data.spelling import key_of
from hpcnas.data.splitting import share_of

TEST = 0.25
"""Hashes below this are for tests."""
LEAST_FOLDERS = 4
"""From so many on, folders are divided and not what is in them."""
IN_NOISE, IN_A_ROOM, THROUGH_A_CODEC = 0.8, 0.5, 0.25
"""Shares of the copies of training recordings that get each, if it is given; all are drawn independently."""


def with_conditions(config: DataConfig, corpus: CorpusIndex) -> CorpusIndex:
    """The corpus with copies of its training recordings in the conditions that are configured, if there are any.

    Raises:
        DataError: for a folder without sounds, none that are for training, or some that the corpus has too.
    """
    if not config.has_conditions or config.all_is_test:
        return corpus
    noise, responses = (divided(key, config) for key in ("noise", "rooms"))
    ensure_apart("data.noise", corpus, [sound.path for _, sound in noise])
    conditions = Conditions(
        _of("train", "noise", noise),
        config.snr_db,
        _of("train", "rooms", responses),
        config.gain_db,
        config.codecs,
        IN_NOISE,
        IN_A_ROOM,
        THROUGH_A_CODEC,
        config.copies_seed,
    )
    return replace(corpus, copies={**corpus.copies, "train": (*AS_RECORDED, *[conditions] * (config.copies - 1))})


def part(which: str, key: str, config: DataConfig) -> tuple[Sound, ...]:
    """Those of ``data.noise`` or ``data.rooms`` (``key``) that are for ``train`` or ``test``; raises DataError if none is."""
    return _of(which, key, divided(key, config))


def divided(key: str, config: DataConfig) -> list[tuple[str, Sound]]:
    """All of ``data.noise`` or ``data.rooms``, each once, with its part."""
    once: dict[str, tuple[str, Sound]] = {}
    for folder in getattr(config, key):
        for which, sound in _divided(place(folder, key, config), key, config):
            once.setdefault(os.path.realpath(sound.path), (which, sound))
    return [*once.values()]


def _of(which: str, key: str, found: Sequence[tuple[str, Sound]]) -> tuple[Sound, ...]:
    own = tuple(sound for of, sound in found if of == which)
    if found and not own:
        purpose, way_out = ("training", "") if which == "train" else ("tests", f", or name others by --{key}")
        raise DataError(
            f"data.{key}: of {len(found)} recording(s) none falls into the part for {purpose}; have more of them{way_out}"
        )
    return own


def place(folder: str, key: str, config: DataConfig) -> Path:
    """Where sounds are; simulated rooms are made first."""
    if key == "rooms" and folder == rooms.SIMULATED:
        return rooms.simulated(config, config.cache)
    return Path(folder).expanduser()


def found_in(folder: Path, key: str, on_bad_file: str) -> list[Sound]:
    """All sounds below a folder, by name; raises DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f'data.{key}: "{folder}": no such folder; set it to where it is, or to [] for none')
    unused, bad = Unused(), list[Problem]()
    try:
        paths = finding.of_class(folder, unused, bad)
    except DataError as error:
        raise DataError(f"data.{key}: {error}") from error
    unused.say(folder)
    problems.settle(bad, on_bad_file)
    own = Path(os.path.abspath(folder)).name
    return [Sound(path, f"{own}/{key_of(path.relative_to(folder).as_posix())}") for path in paths]


def _divided(folder: Path, key: str, config: DataConfig) -> list[tuple[str, Sound]]:
    sounds = found_in(folder, key, config.on_bad_file)
    parents = {sound.name.split("/")[1] for sound in sounds if sound.name.count("/") > 1}
    whole_folders = len(parents) >= LEAST_FOLDERS and all(sound.name.count("/") > 1 for sound in sounds)

    def share(sound: Sound) -> float:
        below = sound.name.partition("/")[2]
        return share_of(f"{below.partition('/')[0] if whole_folders else below}, {key}")

    return [("test" if share(sound) < TEST else "train", sound) for sound in sounds]


def ensure_apart(what: str, corpus: CorpusIndex, paths: Sequence[Path]) -> None:
    """Raise DataError for recordings that the corpus has too, or that it hears as noise in training."""
    names = {path.name for path in paths}
    own = [one.path for one in (*corpus.examples, *corpus.noise) if not one.name]
    sounds = [sound.path for sound in sounds_of(corpus.copies)] if what != "data.noise" else []
    known = {os.path.realpath(path) for path in (*own, *sounds) if path.name in names}
    if both := sorted({str(path) for path in paths if os.path.realpath(path) in known}):
        first = ", ".join(map(printable, both[:SHOWN]))
        raise DataError(f"{what}: {len(both)} recording(s) are in the corpus too, first {first}; leave them out")


def sounds_of(copies: Mapping[str, Sequence[Conditions | None]]) -> tuple[Sound, ...]:
    """All noise and rooms that any copy may be heard in, each once."""
    distinct = {conditions for of_split in copies.values() for conditions in of_split if conditions}
    return tuple(dict.fromkeys(sound for conditions in sorted(distinct, key=repr) for sound in conditions.sounds))
