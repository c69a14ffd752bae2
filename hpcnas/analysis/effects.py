"""Which blocks help, and where: how much larger the gain, or the score, is with them than without.

Two views. What a mutation brought in: the child's score minus its parent's, against that of all other mutations, so that what
every trial gains by training on is taken out. What is in the tower: the score of trials that have a block against those that do
not, after a least-squares fit of depth and of the logarithm of the trial's number has been taken out: towers grow and scores
rise as a search goes on, whatever the blocks. Neither is an experiment: the search chooses what it tries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.significance import difference_interval


@dataclass(frozen=True)
class Effect:
    """Of having ``part``, in units of the score, with a 95 % interval (Welch's)."""

    part: str
    trials: int
    effect: float
    low: float
    high: float


EFFECT = ("part", "trials", "effect", "low", "high")
Place = tuple[int, Block]
KEYS: Mapping[str, Callable[[Place], str]] = {
    "kind": lambda place: place[1].kind,
    "block": lambda place: str(place[1]),
    "place": lambda place: f"{place[1].kind} at {place[0]}",
    "position": lambda place: f"at {place[0]}",
}
"""What parts are told apart by; positions are counted from 0, at the input."""
LEAST = 3
"""Trials that there must be on either side."""


def changed(before: Architecture, after: Architecture) -> tuple[int, Sequence[Block], Sequence[Block]]:
    """Index of the first block that differs, what went and what came: the shortest stretch that explains the change."""
    old, new = before.blocks, after.blocks
    start, room = 0, min(len(old), len(new))
    while start < room and old[start] == new[start]:
        start += 1
    end = 0
    while end < room - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return start, old[start : len(old) - end], new[start : len(new) - end]


def brought_in(archive: Archive, by: str, least: int = LEAST) -> list[Effect]:
    """Effects on a mutation's gain of what it brought in, largest first; ``by`` is a key of ``KEYS`` or ``mutation``."""
    gains, parts = [], []
    for result in archive.ranking:
        trial = archive.trials[result.trial]
        parent = trial.proposal.parent
        before = None if parent is None else archive.results.get(parent)
        if before is None or not before.state.has_score:
            continue
        gains.append(result.score - before.score)
        start, _, new = changed(archive.trials[before.trial].architecture, trial.architecture)
        places = enumerate(new, start)
        parts.append({trial.proposal.mutation.split()[0]} if by == "mutation" else set(map(KEYS[by], places)))
    return _effects(np.array(gains), parts, least)


def in_tower(archive: Archive, by: str, least: int = LEAST) -> list[Effect]:
    """Effects on the score, depth and number of the trial taken out, of what the tower has, largest first."""
    trials = [archive.trials[result.trial] for result in archive.ranking]
    if by == "mutation" or not trials:
        return []
    depth_and_order = np.array([[1.0, t.architecture.depth, np.log1p(t.id)] for t in trials])
    scores = np.array([result.score for result in archive.ranking])
    fit, *_ = np.linalg.lstsq(depth_and_order, scores, rcond=None)
    parts = [set(map(KEYS[by], enumerate(trial.architecture.blocks))) for trial in trials]
    return _effects(scores - depth_and_order @ fit, parts, least)


def _effects(values: np.ndarray, parts: Sequence[Iterable[str]], least: int) -> list[Effect]:
    rows_of = defaultdict(list)
    for row, having in enumerate(parts):
        for part in having:
            rows_of[part].append(row)
    found = []
    for part, rows in rows_of.items():
        has = np.zeros(len(values), bool)
        has[rows] = True
        if min(has.sum(), (~has).sum()) >= max(2, least):
            found.append(Effect(part, len(rows), *difference_interval(values[has], values[~has])))
    return sorted(found, key=lambda one: (-one.effect, one.part))
