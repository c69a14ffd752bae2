"""The final stage: who of the best is best from scratch, and the winner again for every further member.

Algorithm 3 of Mazzawi et al., Interspeech 2019, trains the best candidate p times. differs: trials of a search are short and
started from different parents, so that the best of them is partly the best trained or the luckiest. Here many of the best run a
race from scratch, trained as members are. Challengers, small steps away from those who lead it at a quarter of the way, join it
there: from scratch a quarter of the way tells towers apart that inherited weights do not. The finishers are trained a second
time, with other seeds, and the mean of what trials are ranked by decides, a validation loss by default: among ten finalists on
the built-in speech it foretold test accuracy (correlation -0.8) where validation accuracy hardly did (0.4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.mutation import fine_steps, steps_away
from hpcnas.core.space import SearchSpace
from hpcnas.core.stopping.race import Race
from hpcnas.core.trial import Proposal, Trial

BEAM = 4
"""A challenger comes from one of so many leaders."""
FARTHEST = 4
"""Steps from a leader to a challenger, at most."""
LINES = 4
"""Lines of descent that the finalists come from, at least, where the search has as many."""


@dataclass(frozen=True)
class Finals:
    """Trials are the entrants, the baseline, the challengers, the finishers' second trainings, and the members that the winner
    still lacks.

    Not in ``STRATEGIES``, since its proposals are not configuration.
    """

    entrants: tuple[Proposal, ...]
    """At least one."""
    members: int
    """p, the winner's first trainings included."""
    race: Race
    baseline: Proposal | None = None

    @classmethod
    def of(
        cls,
        entrants: Sequence[Proposal],
        baseline: Proposal | None,
        *,
        members: int,
        epochs: int,
        finishers: int,
        challengers: int,
    ) -> Finals:
        """With the race that comes down from entrants and challengers to the finishers in ``epochs``."""
        first = len(entrants) + (baseline is not None)
        race = Race.of(len(entrants), epochs, finishers, range(first, first + challengers))
        return cls(tuple(entrants), members, race, baseline)

    @property
    def given(self) -> tuple[Proposal, ...]:
        """The proposals that are known beforehand."""
        return self.entrants if self.baseline is None else (*self.entrants, self.baseline)

    @property
    def again(self) -> range:
        """Second trainings of the finishers, to choose among them."""
        first = len(self.given) + len(self.race.challengers)
        is_open = self.race.finishers > 1 and len(self.entrants) + len(self.race.challengers) > 1
        return range(first, first + (self.race.finishers if is_open else 0))

    @property
    def trials(self) -> int:
        """In all."""
        return self.again.stop + max(0, self.members - (2 if self.again else 1))

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal | None:
        """None while it is not known who is next."""
        next_id = archive.next_id
        if next_id < len(self.given):
            return replace(self.given[next_id], given=True)
        if next_id in self.race.challengers:
            return self._challenger(archive, space, rng, refused)
        finishers = self.race.ranking(archive)
        if finishers is None:
            return None
        if next_id in self.again:
            place = min(next_id - self.again.start, len(finishers) - 1)  # where some failed, the last one is trained once more
            return self._once_more(archive, finishers[place].trial if finishers else 0)
        if any(trial not in archive.results for trial in self.again):
            return None
        return self._once_more(archive, self.winner(archive))

    def winner(self, archive: Archive) -> int:
        """The trial with the highest mean merit over its trainings among those who came to the end; the first if none did."""
        merits: dict[int, float] = {}
        for place, finisher in enumerate(self.race.ranking(archive) or ()):
            trainings = [finisher, *(archive.results[i] for i in self.again[place : place + 1] if i in archive.results)]
            merits[finisher.trial] = float(np.mean([one.merit for one in trainings if one.state.has_score]))
        return max(merits, key=lambda trial: (merits[trial], -trial)) if merits else 0

    def ensemble(self, archive: Archive) -> list[Trial]:
        """The winner's trainings that have a score, oldest first, as many as there are members."""
        winner = self.winner(archive)
        ids = [winner, *range(self.again.start, self.trials)]
        scored = [archive.trials[i] for i in ids if i in archive.results and archive.results[i].state.has_score]
        return [trial for trial in scored if trial.architecture == archive.trials[winner].architecture][: self.members]

    def _challenger(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int) -> Proposal | None:
        leaders = self.race.leaders(archive)
        if leaders is None:
            return None
        origin = leaders[rng.integers(min(BEAM, len(leaders)))].trial if leaders else 0
        if steps_away(refused) > FARTHEST:  # nothing near the leaders is new or keeps the limits
            return self._once_more(archive, origin)
        tower, step = fine_steps(archive.trials[origin].architecture, space, rng, steps_away(refused))
        return Proposal(tower, None, f"{step} of {origin}", archive.trials[origin].proposal.settings, fills=True)

    @staticmethod
    def _once_more(archive: Archive, trial: int) -> Proposal:
        before = archive.trials[trial].proposal
        return Proposal(before.architecture, before.parent, "copy", before.settings, given=True)


def finalists(archive: Archive, most: int) -> list[Trial]:
    """So many of the best that the search found, and all with a score that was suggested, best first: its answer shall not be
    worse than what it began with.

    Inherited weights make those trials the best that come from the longest line, so that of a line no more than its share of
    ``LINES`` is taken while there are others.
    """
    ranked = archive.best(None)
    found = of_several_lines(archive, [trial for trial in ranked if not trial.proposal.is_suggestion], most)
    chosen = {trial.id for trial in found}
    return [trial for trial in ranked if trial.proposal.is_suggestion or trial.id in chosen]


def of_several_lines(archive: Archive, ranked: Sequence[Trial], most: int) -> list[Trial]:
    """So many of ``ranked``, the first of them, but of a line of descent no more than its share of ``LINES`` while there are
    others."""
    lines: dict[int, int] = {}
    """Of each trial the first of its line; parents are older than their children."""
    for trial in archive.trials.values():
        parent = trial.proposal.parent
        lines[trial.id] = trial.id if parent is None else lines[parent]
    of_line = Counter[int]()
    within: list[Trial] = []
    beyond: list[Trial] = []
    for trial in ranked:
        of_line[lines[trial.id]] += 1
        (within if of_line[lines[trial.id]] <= math.ceil(most / LINES) else beyond).append(trial)
    return [*within, *beyond][:most]
