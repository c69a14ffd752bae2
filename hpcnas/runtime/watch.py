"""What a user watches: a line per finished trial and a progress bar."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

from hpcnas.core.archive import Archive
from hpcnas.core.trial import Result, Trial
from hpcnas.core.units import thousands

logger = logging.getLogger(__name__)

_EVERY_S = 10.0
"""Where the bar cannot be redrawn in place (a log file, a rank under mpirun), it is a line so often."""
_LINES_A_SECOND = 20
"""More trials than that nobody reads; they are counted, and the journal has them."""


class Watch:
    """Follows the events of a stage: takes note of them while a group waits for its answer, shows them when there is time.

    Args:
        total: trials that the stage will have.
        objective: name of the score.
    """

    def __init__(self, archive: Archive, total: int, objective: str) -> None:
        self._archive, self._objective = archive, objective
        self._news: list[tuple[Result, Result | None]] = []
        """Not shown yet, each with what was known of its trial before."""
        self._busy = 0.0
        self._groups, self._there, self._since = 0, 0.0, time.monotonic()
        self._last_line = self._second = 0.0
        self._lines = self._unsaid = 0
        self._in_place = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=len(archive.results),
            file=sys.stderr if self._in_place else _Nowhere(),
            bar_format="{bar:20} {n_fmt}/{total_fmt} trials{postfix}, {remaining} left",
            ascii=not self._in_place,
            mininterval=0.5,
            dynamic_ncols=self._in_place,
        )

    def update(self, event: Trial | Result) -> None:
        """Take note of an event that the archive is about to take in."""
        if isinstance(event, Result):
            before = self._archive.results.get(event.trial)  # if it was paused
            self._busy += event.seconds - (before.seconds if before else 0.0)
            self._news.append((event, before))

    def show(self) -> None:
        """Show what the archive has taken in since."""
        if not self._news:
            return
        for result, _ in self._news:
            if self._may_speak():
                logger.info("%s", describe(self._archive.trials[result.trial], result, self._objective))
        best = f"best={self._archive.ranking[0].score:.4f}" if self._archive.ranking else "best=none"
        self._bar.set_postfix_str(f"{best} busy={self.busy_share:.0%}", refresh=False)
        self._bar.update(sum(before is None for _, before in self._news))
        self._news.clear()
        if not self._in_place and time.monotonic() - self._last_line >= _EVERY_S:
            self._last_line = time.monotonic()
            logger.info("%s", self._bar)

    def _may_speak(self) -> bool:
        """Whether this second has room for another line; first of all for one about what it had none for."""
        now = time.monotonic()
        if now - self._second >= 1:
            if self._unsaid:
                logger.info("... and %d more trials", self._unsaid)
            self._second, self._lines, self._unsaid = now, 0, 0
        self._lines += 1
        self._unsaid += self._lines > _LINES_A_SECOND
        return self._lines <= _LINES_A_SECOND

    def work_in(self, groups: int) -> None:
        """So many groups work from now on."""
        now = time.monotonic()
        self._there += self._groups * (now - self._since)
        self._groups, self._since = groups, now

    @property
    def busy_share(self) -> float:
        """Share of the groups' time since the start that went into finished trials."""
        self.work_in(self._groups)
        return min(1.0, self._busy / max(1e-9, self._there))

    def close(self) -> None:
        self.show()
        if self._unsaid:
            logger.info("... and %d more trials", self._unsaid)
        if not self._in_place and self._bar.n:
            logger.info("%s", self._bar)
        self._bar.close()


def describe(trial: Trial, result: Result, objective: str) -> str:
    """One line about a finished trial."""
    if not result.state.has_score:
        return f"trial {trial.id} {result.state.value}: {result.error} {trial.architecture}"
    parent = trial.proposal.parent
    share = result.inherited / result.cost.params
    origin = f"parent={parent} ({trial.proposal.mutation})" if parent is not None else trial.proposal.mutation
    settings = "".join(f"{name}={value:.3g} " for name, value in trial.proposal.settings)
    cost = result.cost
    on_device = f"flash={cost.flash_kb:.1f}kB arena={cost.arena_kb:.1f}kB " if cost.flash_kb else ""
    on_device += f"device={cost.device_ms:.0f}ms " if cost.device_ms else ""
    return (
        f"trial {trial.id} {result.state.value} {objective}={result.score:.4f} params={thousands(cost.params)} {on_device}"
        f"depth={trial.architecture.depth} {origin} inherited={thousands(result.inherited)} ({share:.0%}) "
        f"{result.seconds:.1f}s {settings}{trial.architecture}"
    )


class _Nowhere:
    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass
