"""The final stage: who of the best is best from scratch, and the winner again for every further member.

Algorithm 3 of Mazzawi et al., Interspeech 2019, trains the best candidate p times. differs: trials of a search are short and
started from different parents, so that the best of them is partly the best trained or the luckiest. Here many of the best run a
race from scratch, trained as members are; its finishers are trained a second time, with other seeds, and the lowest mean
validation loss decides: among ten finalists on the built-in speech it foretold test accuracy (correlation -0.8) where
validation accuracy hardly did (0.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.stopping.race import Race
from hpcnas.core.trial import Proposal, Trial


@dataclass(frozen=True)
class Finals:
    """Trials are the entrants, the baseline, the finishers' second trainings, and the members that the winner still lacks.

    Not in ``STRATEGIES``, since its proposals are not configuration.
    """

    entrants: tuple[Proposal, ...]
    """At least one."""
    members: int
    """p, the winner's first trainings included."""
    race: Race
    baseline: Proposal | None = None

    may_repeat: ClassVar[bool] = True

    @property
    def given(self) -> tuple[Proposal, ...]:
        """The proposals that are known beforehand."""
        return self.entrants if self.baseline is None else (*self.entrants, self.baseline)

    @property
    def again(self) -> int:
        """Finishers that are trained a second time, to choose among them."""
        return self.race.finishers if len(self.entrants) > 1 and self.race.finishers > 1 else 0

    @property
    def trials(self) -> int:
        """In all."""
        return len(self.given) + self.again + max(0, self.members - (2 if self.again else 1))

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal | None:
        """None while it is not known who is next."""
        next_id, given = archive.next_id, len(self.given)
        if next_id < given:
            return self.given[next_id]
        finishers = self.race.ranking(archive)
        if finishers is None:
            return None
        if next_id < given + self.again:
            place = min(next_id - given, len(finishers) - 1)  # where some failed, the last one is trained once more
            return self.entrants[finishers[place].trial] if finishers else self.entrants[0]
        if any(trial not in archive.results for trial in range(given, given + self.again)):
            return None
        return self.entrants[self.winner(archive)]

    def winner(self, archive: Archive) -> int:
        """The entrant with the lowest mean loss over its trainings among those who came to the end; the first if none did."""
        losses: dict[int, list[float]] = {}
        for place, finisher in enumerate(self.race.ranking(archive) or ()):
            second = len(self.given) + place
            trainings = [finisher, *([archive.results[second]] if place < self.again and second in archive.results else [])]
            losses[finisher.trial] = [one.loss for one in trainings if one.state.has_score]
        return min(losses, key=lambda trial: (sum(losses[trial]) / len(losses[trial]), trial)) if losses else 0

    def ensemble(self, archive: Archive) -> list[Trial]:
        """The winner's trainings that have a score, oldest first, as many as there are members."""
        architecture = self.entrants[winner := self.winner(archive)].architecture
        ids = [winner, *range(len(self.given), self.trials)]
        scored = [i for i in ids if i in archive.results and archive.results[i].state.has_score]
        return [archive.trials[i] for i in scored if archive.trials[i].architecture == architecture][: self.members]


def finalists(archive: Archive, most: int) -> list[Trial]:
    """So many of the best that the search found, and all with a score that was suggested, best first: its answer shall not be
    worse than what it began with."""
    ranked = [archive.trials[result.trial] for result in archive.ranking]
    found = [trial for trial in ranked if not trial.proposal.is_suggestion][:most]
    return [trial for trial in ranked if trial.proposal.is_suggestion or trial in found]
