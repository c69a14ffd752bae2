"""Which trials' weights stay on disk: those that another training may start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.combiners import Combiner
from hpcnas.core.messages import Assignment
from hpcnas.core.stopping import StoppingRule
from hpcnas.core.trial import Trial, TrialState


@dataclass
class KeptWeights:
    """Those of a stage's trials that are on disk.

    Args:
        keep: so many best and latest ones stay; see ``SearchConfig.keep_weights``.
        discard: told of a trial whose weights nobody needs any more.
        there: trials whose weights are on disk.
    """

    archive: Archive
    stopping: StoppingRule
    combiner: Combiner
    keep: int
    discard: Callable[[int], None]
    there: set[int]
    _sweep_at: int = 0

    @property
    def may_have_piled_up(self) -> bool:
        """Whether so many have piled up that a sweep, which takes time, may be worth it."""
        return len(self.there) >= self._sweep_at

    def sweep(self, assignments: Sequence[Assignment], again: Iterable[Trial]) -> None:
        """Let go of weights that nobody wants.

        Args:
            assignments: that groups have, or a later job will go on with.
            again: trials that are yet to be given out again.
        """
        wanted = self._wanted(assignments, again)
        for trial in self.there - wanted:
            self.discard(trial)
        self.there &= wanted
        self._sweep_at = len(self.there) + max(1, len(self.there) // 4)

    def _wanted(self, assignments: Sequence[Assignment], again: Iterable[Trial]) -> set[int]:
        """Trials whose weights somebody may start from."""
        wanted = {result.trial for result in self.archive.ranking[: self.keep]}
        wanted.update(self.stopping.candidates(self.archive, self.keep))
        wanted.update(result.trial for result in self.archive.latest(self.keep))
        wanted.update(donor.trial.id for assignment in assignments for donor in assignment.donors)
        wanted.update(assignment.trial.id for assignment in assignments if assignment.paused)
        wanted.update(mate for assignment in assignments for mate in assignment.trial.proposal.team)
        for trial in again:
            wanted.update(trial.proposal.team)
            wanted.update(() if trial.proposal.parent is None else (trial.proposal.parent,))
        paused = (id_ for id_ in self.there if self.archive.results[id_].state is TrialState.PAUSED)
        wanted.update(mate for id_ in paused for mate in self.archive.trials[id_].proposal.team)
        wanted.update(self.combiner.pool(self.archive))
        return wanted
