"""Says now and then how far something is that takes long."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

EVERY_S = 10.0


class Progress:
    """A line in the log every ``EVERY_S``, none if it is done before."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._said = what, total, 0, time.monotonic()

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            logger.info("%s: %.0f %%", self._what, 100 * self._done / max(1, self._total))
