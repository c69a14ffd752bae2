"""The null rule: every trial runs for all its epochs."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress
from hpcnas.core.stopping.rule import EndingRule


@dataclass(frozen=True, kw_only=True)
class NeverStop(EndingRule):
    def keep_going(self, archive: Archive, progress: Progress) -> bool:
        return True
