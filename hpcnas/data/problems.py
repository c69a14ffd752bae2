"""What is wrong with a corpus, all of it said at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import DataError

logger = logging.getLogger(__name__)

SHOWN = 3
"""Examples of each kind of problem."""


@dataclass(frozen=True)
class Problem:
    """A recording, or a line of a manifest, that cannot be used."""

    where: str
    reason: str


def of(path: Path, error: DataError) -> Problem:
    """An error about one file as a problem of its corpus."""
    return Problem(printable(str(path)), str(error).removeprefix(f"{path}: ").partition(";")[0])


def printable(text: str) -> str:
    """The same on one line that any terminal and log takes: control characters and bytes that are no text written as codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summary(problems: Sequence[Problem]) -> str:
    """How many there are of each kind, with examples."""
    by_reason: dict[str, list[str]] = {}
    for problem in problems:
        by_reason.setdefault(problem.reason, []).append(problem.where)
    reasons = (
        f"{len(places)} {reason}: {', '.join(places[:SHOWN])}{' ...' if len(places) > SHOWN else ''}"
        for reason, places in sorted(by_reason.items())
    )
    return f"{len(problems)} recording(s) cannot be used ({'; '.join(reasons)})"


def settle(problems: Sequence[Problem], on_bad_file: str) -> None:
    """Raise DataError with the summary, or log it if bad files are to be left out."""
    if problems and on_bad_file == "fail":
        raise DataError(f'{summary(problems)}; replace or remove them, or set data.on_bad_file = "skip"')
    if problems:
        logger.warning("%s: left out", summary(problems))
