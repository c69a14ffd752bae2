"""A model on its test recordings under conditions: in noise, in rooms, quieter, through codecs; and by groups of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.core.worst import Grouping, Robustness, by_group, under_conditions
from hpcnas.data import surroundings
from hpcnas.data.codecs import CODECS
from hpcnas.data.conditions import Conditions, Sound
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.data.groups import groups

LEVELS_DB = (20.0, 10.0, 5.0, 0.0)
"""Signal to noise ratios."""
QUIET_DB = -20.0


@dataclass(frozen=True)
class Asked:
    """Sounds for the test; empty: what is kept of ``data.noise`` and ``data.rooms``."""

    noise: Sequence[str] = ()
    rooms: Sequence[str] = ()

    def sounds(self, key: str, data: DataConfig, index: CorpusIndex) -> tuple[Sound, ...]:
        """Of noise or rooms (``key``), none of which training has heard; raises DataError."""
        if not (given := getattr(self, key)):
            return surroundings.part("test", key, data)
        found = [
            sound
            for folder in given
            for sound in surroundings.found_in(surroundings.place(folder, key, data), key, data.on_bad_file)
        ]
        surroundings.ensure_apart(f"--{key}", index, [sound.path for sound in found])
        return tuple(found)


def conditions_of(data: DataConfig, index: CorpusIndex, asked: Asked) -> tuple[Mapping[str, Conditions], Sequence[str]]:
    """What is tried, by name, and why other conditions are not.

    Args:
        data: of the run: what it has heard in training is not for the test.
        index: of the corpus that is judged; with copies, if training heard these.
    """
    trained = index if index.copies else surroundings.with_conditions(replace(data, all_is_test=False), index)
    noise, rooms = (asked.sounds(key, data, trained) for key in ("noise", "rooms"))
    found = {f"noise, {level:g} dB": Conditions(noise, (level, level)) for level in LEVELS_DB if noise}
    found |= {"rooms": Conditions(rooms=rooms)} if rooms else {}
    found |= {f"quiet, {QUIET_DB:g} dB": Conditions(gain_db=(QUIET_DB, QUIET_DB))}
    found |= {codec: Conditions(codecs=(codec,)) for codec in CODECS}
    untold = [
        f"{what}: not tried, as there is none; --{key} or data.{key} names a folder"
        for key, what, there in (("noise", "noise", noise), ("rooms", "rooms", rooms))
        if not there
    ]
    return found, untold


def alone(index: CorpusIndex, split: str, conditions: Conditions) -> CorpusIndex:
    """A corpus of one split, all of it under conditions, and nothing else."""
    splits = {name: index.splits[name] if name == split else () for name in SPLITS}
    return CorpusIndex(index.class_names, splits, (), {split: (conditions,)})


def robustness(
    is_right_N: np.ndarray,
    tried: Mapping[str, Conditions],
    untold: Sequence[str],
    judge: Callable[[Conditions], np.ndarray],
) -> Robustness:
    """Of recordings that the model has right as they are, and what ``judge`` finds right under each condition."""
    rights = {name: judge(conditions) for name, conditions in tried.items()}
    if odd := next((name for name, right in rights.items() if len(right) != len(is_right_N)), None):
        raise DataError(f"{odd}: {len(rights[odd])} recordings could be read, not {len(is_right_N)}; did any change meanwhile?")
    return under_conditions(is_right_N, rights, untold)


def groupings(
    is_right_N: np.ndarray, rows_N: np.ndarray, data: DataConfig, index: CorpusIndex, split: str
) -> Sequence[Grouping]:
    """Of a split's recordings, whose numbers in the index are ``rows_N``."""
    found = groups(data, split, index.splits[split])
    told = (by_group(by, is_right_N, [names[row] for row in rows_N]) for by, names in found.items())
    return [grouping for grouping in told if grouping]
