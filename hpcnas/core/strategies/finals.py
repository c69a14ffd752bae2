"""The final stage: who of the best is best from scratch, and the winner again for every further member.

Algorithm 3 of Mazzawi et al., Interspeech 2019, trains the best candidate p times. differs: trials of a search are short and
started from different parents, so that the best of them is partly the best trained or the luckiest; with more than one
finalist they are trained as members are, and the lowest validation loss decides: among ten finalists on the built-in speech it
foretold test accuracy (correlation -0.8) where validation accuracy hardly did (0.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal, Trial


@dataclass(frozen=True)
class Finals:
    """Trials are the finalists, the baseline, and the members that the winner still lacks.

    Not in ``STRATEGIES``, since its proposals are not configuration.
    """

    finalists: tuple[Proposal, ...]
    """At least one."""
    members: int
    """p, the winner's first training included."""
    baseline: Proposal | None = None

    may_repeat: ClassVar[bool] = True

    @property
    def trials(self) -> int:
        """In all."""
        return len(self.given) + self.members - 1

    @property
    def given(self) -> tuple[Proposal, ...]:
        """The proposals that are known beforehand."""
        return self.finalists if self.baseline is None else (*self.finalists, self.baseline)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal | None:
        """None while the finals are not decided."""
        if archive.next_id < len(self.given):
            return self.given[archive.next_id]
        if any(i not in archive.results for i in range(len(self.finalists))):
            return None
        return self.finalists[self.winner(archive)]

    def winner(self, archive: Archive) -> int:
        """The finalist with the lowest loss; the first if none has a score."""
        scored = [result for result in archive.ranking if result.trial < len(self.finalists)]
        return min(scored, key=lambda result: (result.loss, result.trial)).trial if scored else 0

    def ensemble(self, archive: Archive) -> list[Trial]:
        """The winner's trainings that have a score, oldest first."""
        winner = self.winner(archive)
        ids = [winner, *range(len(self.given), self.trials)]
        return [archive.trials[i] for i in ids if i in archive.results and archive.results[i].state.has_score]
