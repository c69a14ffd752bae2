"""What is tried next: what a search was given to begin with, then what its strategy proposes, new and within the budget; and
when there is nothing more to try."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.combiners import Combiner
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.fitting import shrunk, widened
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.space import SearchSpace
from hpcnas.core.strategies import Strategy
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState, unscored
from hpcnas.core.tuning import Tuner

MAX_PROPOSALS = 500
"""Proposals drawn for one trial before the space within the budget counts as exhausted."""


@dataclass
class Ideas:
    """One new trial after the other; the arguments are the coordinator's."""

    strategy: Strategy
    space: SearchSpace
    config: SearchConfig
    seed: int
    measure: Callable[[Architecture], Cost]
    budget: Budget
    tuner: Tuner
    combiner: Combiner
    starts: Sequence[Proposal]
    archive: Archive
    ended: str = ""
    """Why there are no more; empty while there may be."""

    def __post_init__(self) -> None:
        self._left = deque(self.starts)
        """Starts that were not looked at in this job."""

    def next(self, elapsed_s: float, there: Collection[int]) -> Trial | None:
        """The next new trial; None if it is not known yet or, with a reason in ``ended``, if there are no more.

        Args:
            elapsed_s: what the search has taken so far.
            there: trials whose weights are on disk, of which a team may be.
        """
        id_ = self.archive.next_id
        self.ended = self.ended or self._reached(id_, elapsed_s)
        if self.ended:
            return None
        entropy = np.random.SeedSequence([self.seed, id_])  # all chance of the trial comes from it
        proposal = self._start() or self._proposal(entropy)
        if proposal is None:
            return None
        return Trial(id_, self._completed(proposal, id_, there), seed=int(entropy.generate_state(1)[0]))

    def _reached(self, id_: int, elapsed_s: float) -> str:
        """The limit of the search that keeps trial ``id_`` from beginning, in words; empty if none does."""
        if id_ >= self.config.max_trials:
            return f"all {self.config.max_trials} trials begun"
        if 0 < self.config.max_steps <= self.archive.steps:
            return f"{self.archive.steps} training steps done, of {self.config.max_steps}"
        if 0 < self.config.time_limit <= elapsed_s:
            return f"time limit of {self.config.time_limit:g} s reached"
        return ""

    def _completed(self, proposal: Proposal, id_: int, there: Collection[int]) -> Proposal:
        """With the settings and the team that the strategy has left to others."""
        settings = proposal.settings or self.tuner.suggest(id_)
        team = proposal.team or tuple(i for i in self.combiner.team(self.archive, id_) if i in there)
        return replace(proposal, settings=settings, team=team) if settings or team else proposal

    def _start(self) -> Proposal | None:
        """The next start that nobody has tried: narrowed to the limits, models of one paper may become alike."""
        while self._left:
            proposal = self._fitted(self._left.popleft())
            if not self.archive.seen(proposal.architecture):
                return proposal
        return None

    def _proposal(self, entropy: np.random.SeedSequence) -> Proposal | None:
        """What the strategy wants to be tried next: new and within the budget, or not to be built at all; else None."""
        rng = np.random.default_rng(entropy)
        for refused in range(MAX_PROPOSALS):
            proposal = self.strategy.propose(self.archive, self.space, rng, refused)
            if proposal is None or proposal.given or proposal.again:
                return proposal
            proposal = self._fitted(proposal)
            if not self.archive.seen(proposal.architecture) and self._within_budget(proposal.architecture):
                return proposal
        self.ended = f"no new architecture within the budget in {MAX_PROPOSALS} proposals"
        return None

    def _fitted(self, proposal: Proposal) -> Proposal:
        """The same within the budget, if a narrower tower of its shape is; as wide as the budget allows if it wants to be."""
        if not (self.space.fit and self.budget.is_limited):
            return proposal
        tower = (widened if proposal.fills else shrunk)(proposal.architecture, self.space, self._within_budget)
        if tower is None or tower == proposal.architecture:
            return proposal
        return replace(proposal, architecture=tower, mutation=f"{proposal.mutation}, scaled")

    def _within_budget(self, architecture: Architecture) -> bool:
        """True too for what cannot be built: that is for its trial to say."""
        try:
            return not self.budget.objection(self.measure(architecture))
        except ArchitectureError:
            return True

    def refusal(self, trial: Trial) -> Result | None:
        """The result of a trial on which no training must be spent."""
        try:
            cost = self.measure(trial.architecture)
        except ArchitectureError as error:
            return unscored(trial, TrialState.FAILED, Cost(0, 0, 0), str(error))
        objection = "" if trial.proposal.given else self.budget.objection(cost)
        return unscored(trial, TrialState.INFEASIBLE, cost, objection) if objection else None
