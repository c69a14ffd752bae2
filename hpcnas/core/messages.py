"""What ranks say to each other. A leader always waits for one reply to one message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hpcnas.core.trial import Donor, Result, Trial


@dataclass(frozen=True)
class Ready:
    """Leader to coordinator: idle, and here is the last result; answered by ``Assignment``, ``Wait`` or ``Stop``."""

    group: int
    result: Result | None = None


@dataclass(frozen=True)
class Progress:
    """Leader to coordinator after every epoch but the last; answered by ``Verdict``."""

    trial: int
    curve: tuple[float, ...]
    """Score after each epoch so far."""

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.curve)

    @property
    def score(self) -> float:
        """Of the last epoch."""
        return self.curve[-1]


@dataclass(frozen=True)
class Assignment:
    """Coordinator to leader: train this, starting from the weights of these trials."""

    trial: Trial
    donors: tuple[Donor, ...] = ()
    paused: Result | None = None
    """What came of the trial so far: it goes on from its own weights, not from donors'."""


class Verdict(Enum):
    """Coordinator to leader: what becomes of a trial after an epoch."""

    CONTINUE = "continue"
    PAUSE = "pause"
    """Report the result as it is; the trial may go on later."""
    STOP = "stop"
    """Hopeless by the stopping rule: report the result as it is."""
    SUSPEND = "suspend"
    """The job is ending: leave without a result; the trial runs again on resume."""


@dataclass(frozen=True)
class Stop:
    """Coordinator to leader: no more work; the group leaves."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """Coordinator to leader: what comes next depends on a trial that is still running; ask again soon."""
