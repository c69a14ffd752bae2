"""What ranks say to each other. A leader waits for one reply to each question, ``Ready`` or ``Progress``.

Rank 0 forms groups of free ranks (``Form``) and, at the end, sends every rank home (``Leave``); in between leaders and the
coordinator talk about trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hpcnas.core.trial import Donor, Result, Trial


@dataclass(frozen=True)
class Ready:
    """Leader to coordinator: idle, and here is the last result; answered by ``Assignment``, ``Wait`` or ``Stop``."""

    group: int
    result: Result | None = None
    out_of_memory: bool = False
    """The trial failed for want of memory here: another group may have enough."""


@dataclass(frozen=True)
class Ahead:
    """Leader to coordinator: only the last validation and the weights of the trial are left to do.

    Answered by the next ``Assignment``, or by nothing. If it is answered, the ``Ready`` that follows is not."""

    group: int


@dataclass(frozen=True)
class Progress:
    """Leader to coordinator after every epoch but the last; answered by ``Verdict``."""

    trial: int
    curve: tuple[float, ...]
    """Score after each epoch so far."""
    merits: tuple[float, ...] = ()
    """What trials are ranked by, likewise, where that is not the score."""

    @property
    def ranked(self) -> tuple[float, ...]:
        """What it is ranked by after each epoch."""
        return self.merits or self.curve

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.curve)

    @property
    def merit(self) -> float:
        """What it is ranked by after the last epoch."""
        return self.ranked[-1]


@dataclass(frozen=True)
class Assignment:
    """Coordinator to leader: train this, starting from the weights of these trials."""

    trial: Trial
    donors: tuple[Donor, ...] = ()
    paused: Result | None = None
    """Result of the trial so far. It goes on from its own weights, not from those of donors."""


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
    """Coordinator to leader: no more work; the group dissolves."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """The coordinator's answer if the next trial depends on one that is still running. Rank 0 keeps the leader's question and
    asks it again when something has changed. The leader never hears of it."""


@dataclass(frozen=True)
class Alive:
    """Leader to rank 0, now and then while its group works: the group is alive. Not answered."""

    group: int


@dataclass(frozen=True)
class Form:
    """Rank 0 to every rank of a new group: train together, the first one leads."""

    number: int
    """Never used twice in a job."""
    ranks: tuple[int, ...]


class Fault(Enum):
    """Why a rank left its group, as far as the rank knows."""

    MATES = "mates"
    """No fault of its own: a mate is gone, or has left."""
    ERROR = "error"
    """It raised; the rank or the trial is to blame."""
    STORAGE = "storage"
    """A file could not be read or written here, which may pass: a stale handle, a server that was busy."""
    MEMORY = "memory"
    """The trial needed more than there was; no fault of the rank."""


@dataclass(frozen=True)
class Free:
    """Any rank to rank 0: my group has ended; answered by ``Form`` or ``Leave`` when there is something to do."""

    group: int
    why: str
    fault: Fault


@dataclass(frozen=True)
class Leave:
    """Rank 0 to every rank: the stage is over; answered by ``Gone``."""

    status: int
    """Exit status of the program."""


@dataclass(frozen=True)
class Gone:
    """Any rank to rank 0: its last word, without which rank 0 does not leave."""
