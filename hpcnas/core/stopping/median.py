"""Median stopping: end a trial whose score lies below the median of earlier trials at the same epoch.

Golovin et al., Google Vizier, KDD 2017 (doi:10.1145/3097983.3098043), section 3.2.2.
differs: scores at the same epoch are compared, not running averages, since trials here last a few epochs only.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.messages import Progress
from hpcnas.core.stopping.rule import EndingRule


@dataclass(frozen=True, kw_only=True)
class Median(EndingRule):
    min_trials: int = 5
    """Scored trials that must have reached the epoch."""
    grace: int = 1
    """Epochs that every trial gets."""

    def __post_init__(self) -> None:
        at_least(1, "stopping", min_trials=self.min_trials, grace=self.grace)

    def keep_going(self, archive: Archive, progress: Progress) -> bool:
        others = archive.after(progress.epoch)
        if progress.epoch < self.grace or len(others) < self.min_trials:
            return True
        middle = others[(len(others) - 1) // 2], others[len(others) // 2]  # ordered already
        return progress.merit >= -(middle[0][0] + middle[1][0]) / 2
