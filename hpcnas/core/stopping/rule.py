"""What rules have in common that end trials for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hpcnas.core.archive import Archive
from hpcnas.core.messages import Progress, Verdict


class EndingRule:
    """A rule that only says whether to go on; what it ended stays ended."""

    def keep_going(self, archive: Archive, progress: Progress) -> bool:
        raise NotImplementedError

    def judge(self, archive: Archive, progress: Progress) -> Verdict:
        return Verdict.CONTINUE if self.keep_going(archive, progress) else Verdict.STOP

    def promote(self, archive: Archive, may_go_on: Callable[[int], bool]) -> int | None:
        return None

    def candidates(self, archive: Archive, margin: int) -> Iterable[int]:
        return ()
