"""Given proposals, each once, in order: an ensemble's members that the search found for each other, or a student."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal, Trial


@dataclass(frozen=True)
class Lineup:
    """Trials are the members and those beside them.

    Not in ``STRATEGIES``, since its proposals are not configuration.
    """

    members: tuple[Proposal, ...]
    beside: tuple[Proposal, ...] = ()
    """To compare with, such as a baseline."""

    @property
    def given(self) -> tuple[Proposal, ...]:
        return (*self.members, *self.beside)

    @property
    def trials(self) -> int:
        """In all."""
        return len(self.given)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal | None:
        """The next one, without those of its team that failed; None while its team is not finished."""
        proposal = self.given[archive.next_id]
        if any(mate not in archive.results for mate in proposal.team):
            return None
        team = tuple(mate for mate in proposal.team if archive.results[mate].state.has_score)
        return replace(proposal, team=team, given=True)

    def ensemble(self, archive: Archive) -> list[Trial]:
        """The members that have a score."""
        ids = range(len(self.members))
        return [archive.trials[i] for i in ids if i in archive.results and archive.results[i].state.has_score]
