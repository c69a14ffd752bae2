"""The accuracy of a model under conditions and on groups of recordings: the worst one beside the mean.

Shape letters: ``N`` recordings, ``C`` conditions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hpcnas.core.significance import mcnemar, mean_interval, share_interval

LEAST = 30
"""A group needs so many recordings before its accuracy is given: with fewer its interval is 30 points wide."""


@dataclass(frozen=True)
class Share:
    """An accuracy with its 95 % interval (Wilson's)."""

    name: str
    value: float
    interval: tuple[float, float]
    count: int
    """Recordings."""


@dataclass(frozen=True)
class UnderCondition:
    """What a condition costs, on the same recordings."""

    share: Share
    change: float
    """Against the recordings as they are, in [-1, 1]."""
    p: float
    """McNemar's test: that the model is equally often right under the condition."""


@dataclass(frozen=True)
class Robustness:
    """A model under conditions."""

    clean: Share
    rows: Sequence[UnderCondition]
    mean: Share
    """Over all conditions; the interval is Student's, over recordings."""
    untold: Sequence[str] = ()
    """Why there are no more conditions."""

    @property
    def worst(self) -> UnderCondition:
        return min(self.rows, key=lambda row: row.share.value)


@dataclass(frozen=True)
class Grouping:
    """A model on groups of recordings, by one thing in which they differ."""

    by: str
    rows: Sequence[Share]
    """Of groups with ``LEAST`` recordings and more, the worst first."""
    few: int
    """Groups with fewer recordings, whose accuracy is not given."""
    unknown: int
    """Recordings whose group is not known."""

    @property
    def mean(self) -> float:
        """Mean over the groups, which all count alike."""
        return float(np.mean([row.value for row in self.rows]))

    @property
    def worst(self) -> Share:
        """The worst group; its interval allows for the number of groups (Bonferroni)."""
        first = self.rows[0]
        z = NormalDist().inv_cdf(1 - 0.025 / len(self.rows))
        return Share(first.name, first.value, share_interval(first.value, first.count, z), first.count)


def accuracy_of(name: str, is_right_N: np.ndarray) -> Share:
    """The share of right answers."""
    value = float(is_right_N.mean())
    return Share(name, value, share_interval(value, len(is_right_N)), len(is_right_N))


def under_conditions(clean_N: np.ndarray, rights: Mapping[str, np.ndarray], untold: Sequence[str] = ()) -> Robustness:
    """Robustness from right answers: on the recordings as they are (``clean_N``), and under each condition (at least one)."""
    clean = accuracy_of("as recorded", clean_N)
    rows = []
    for name, is_right in rights.items():
        share = accuracy_of(name, is_right)
        rows.append(UnderCondition(share, share.value - clean.value, mcnemar(is_right, clean_N)))
    each_N = np.mean([*rights.values()], axis=0)
    mean = Share(f"mean of {len(rows)} conditions", float(each_N.mean()), mean_interval(each_N), len(each_N))
    return Robustness(clean, rows, mean, untold)


def by_group(by: str, is_right_N: np.ndarray, groups_N: Sequence[str]) -> Grouping | None:
    """Accuracy by group. A recording whose group is not known has an empty name. None if fewer than two groups are known."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(groups_N):
        rows[name].append(row)
    unknown = len(rows.pop("", []))
    if len(rows) < 2:
        return None
    told = [accuracy_of(name, is_right_N[of]) for name, of in rows.items() if len(of) >= LEAST]
    return Grouping(by, sorted(told, key=lambda share: (share.value, share.name)), len(rows) - len(told), unknown)
