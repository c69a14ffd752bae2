"""The search looks for ensembles: a trial is scored by the mean of its own logits and those of its team.

The three ways of google/model_search beside retraining the winner. The ensemble that is trained in the end is the best
trial with its team, each from scratch, with equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.combiners.average import Average


@dataclass(frozen=True, kw_only=True)
class Adaptive(Average):
    """Finds one member after the other: the best of so many trials becomes a member, and the next trials are scored with it.

    After Cortes et al., AdaNet, ICML 2017 (arXiv:1607.01097), section 4; differs: equal weights, and no bound on complexity.
    """

    trials_per_member: int = 20
    """The ensemble has ``search.max_trials`` divided by this many members."""

    has_teams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(1, "combiner", trials_per_member=self.trials_per_member)

    def team(self, archive: Archive, id_: int) -> tuple[int, ...]:
        """The winner of each round before."""
        return tuple(winner for winner in self.pool(archive) if self._round(winner) < self._round(id_))

    def pool(self, archive: Archive) -> tuple[int, ...]:
        winners: dict[int, int] = {}
        for result in archive.ranking:
            winners.setdefault(self._round(result.trial), result.trial)
        return tuple(sorted(winners.values()))

    def _round(self, id_: int) -> int:
        return id_ // self.trials_per_member


@dataclass(frozen=True, kw_only=True)
class Residual(Adaptive):
    """As ``Adaptive``; a new member is also trained on the mean, so that it learns what the others get wrong."""

    trained_together: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Intermixed(Average):
    """Every so many trials one is scored together with the best single models so far.

    differs: in model_search such a trial has no new model of its own.
    """

    every: int = 5
    """One trial in so many has a team."""
    size: int = 2
    """Models in the team."""

    has_teams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(2, "combiner", every=self.every)
        at_least(1, "combiner", size=self.size)

    def team(self, archive: Archive, id_: int) -> tuple[int, ...]:
        return self.pool(archive) if id_ % self.every == self.every - 1 else ()

    def pool(self, archive: Archive) -> tuple[int, ...]:
        single = (result.trial for result in archive.ranking if not archive.trials[result.trial].proposal.team)
        return tuple(sorted(islice(single, self.size)))
