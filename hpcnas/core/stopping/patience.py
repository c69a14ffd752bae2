"""Patience: end a trial that has not improved on itself for some epochs."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least
from hpcnas.core.messages import Progress
from hpcnas.core.stopping.rule import EndingRule


@dataclass(frozen=True, kw_only=True)
class Patience(EndingRule):
    epochs: int = 3
    """Epochs without a score above the trial's best by more than ``by``."""
    by: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, "stopping", epochs=self.epochs)
        at_least(0, "stopping", by=self.by)

    def keep_going(self, archive: Archive, progress: Progress) -> bool:
        before, since = progress.ranked[: -self.epochs], progress.ranked[-self.epochs :]
        return not before or max(since) > max(before) + self.by
