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


def odd(path: Path, what: str) -> Problem:
    """What a recording has, though it is used."""
    return Problem(printable(str(path)), what)


def printable(text: str) -> str:
    """The same on one line that any terminal and log takes: control characters and bytes that are no text written as codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summary(problems: Sequence[Problem]) -> str:
    """How many there are of each kind, with examples."""
    return f"{len(problems)} recording(s) cannot be used ({_by_reason(problems)})"


def _by_reason(problems: Sequence[Problem], link: str = "") -> str:
    by_reason: dict[str, list[str]] = {}
    for problem in problems:
        by_reason.setdefault(problem.reason, []).append(problem.where)
    return "; ".join(
        f"{len(places)} {link}{reason}: {', '.join(places[:SHOWN])}{' ...' if len(places) > SHOWN else ''}"
        for reason, places in sorted(by_reason.items())
    )


def remarks(odd: Sequence[Problem]) -> str:
    """The same of what recordings have that are used, however many stretches of one there are; nothing if there is none."""
    once = sorted(set(odd), key=lambda one: (one.reason, one.where))
    files = len({one.where for one in once})
    return f"{files} recording(s) are used, but are odd ({_by_reason(once, 'with ')})" if once else ""


def settled(problems: Sequence[Problem], on_bad_file: str) -> str:
    """The summary if bad files are to be left out and there are some; else raise DataError with it."""
    if problems and on_bad_file == "fail":
        raise DataError(f'{summary(problems)}; replace or remove them, or set data.on_bad_file = "skip"')
    return f"{summary(problems)}: left out" if problems else ""


def settle(problems: Sequence[Problem], on_bad_file: str) -> None:
    """The same, said in the log."""
    if text := settled(problems, on_bad_file):
        logger.warning("%s", text)
