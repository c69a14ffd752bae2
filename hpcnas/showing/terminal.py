"""The outer edge of every program: what a terminal, a pipe or the system does to it ends in one line, not in a traceback.

What cannot be shown where the output goes is escaped: a name in another script on an ASCII terminal, bytes of a file name that
are no text. A reader that has read enough (``| head -1``) ends a program quietly.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.console import Console

from hpcnas.core.errors import HpcnasError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
"""As shells tell a SIGINT, by Ctrl-C."""
EXIT_UNREAD = 141
"""As shells tell a SIGPIPE: nobody reads the output any more."""
WIDTH_OF_FILES = 160
"""Columns of text that is not shown on a terminal."""


@contextmanager
def outer_edge() -> Iterator[None]:
    """To decorate ``main`` with: ends the program by one line and a status for what a user can put right.

    2: bad input, files that cannot be read or written, a full disk behind standard output. 130: interrupted. 141: the output is
    not read to its end, which needs no line.
    """
    make_printable()
    error: BaseException | None = None
    try:
        yield
    except (HpcnasError, OSError, KeyboardInterrupt, SystemExit) as raised:
        error = raised
    unwritten = flush()
    if not isinstance(error, (HpcnasError, KeyboardInterrupt)):
        error = unwritten or error
    if isinstance(error, SystemExit):
        raise error
    if error is not None:
        sys.exit(told(error))


def make_printable() -> None:
    """Let standard output and error take every text, as escapes where their encoding has no other way, and be there at all."""
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def told(error: BaseException) -> int:
    """Say an error in a line on standard error, if it needs one; returns the exit status."""
    if isinstance(error, BrokenPipeError):
        return EXIT_UNREAD
    is_interrupt = isinstance(error, KeyboardInterrupt)
    complain("interrupted" if is_interrupt else f"{type(error).__name__}: {error}")
    return EXIT_INTERRUPTED if is_interrupt else getattr(error, "status", EXIT_USER_ERROR)


def complain(text: str) -> None:
    """One line on standard error, if that can still be written."""
    with suppress(OSError):
        print(plain(" ".join(text.splitlines())), file=sys.stderr, flush=True)


def flush() -> OSError | None:
    """Write out what is left of the output; why that cannot be done, if so."""
    _flush(sys.stderr)
    error = _flush(sys.stdout)
    return error and OSError(error.errno, error.strerror, "standard output")


def console() -> Console:
    """Standard output for tables and lines: every text is taken as it is, without markup; wide where it is no terminal."""
    width = None if sys.stdout.isatty() else WIDTH_OF_FILES
    return _Console(width=width, markup=False, emoji=False, highlight=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # to the outer edge; the library would end the program by a status of its own


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def plain(text: str) -> str:
    """``text`` with its control characters spelled out: a name must neither break a line nor steer the terminal."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def can_show(text: str) -> bool:
    """Whether standard output has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def finite(text: str) -> float:
    """A number of a command line; the type of options that neither NaN nor infinity makes sense for."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text}: must be a finite number")
    return number


def seconds(text: str) -> float:
    """A span of time of a command line that can be slept."""
    number = finite(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: must be more than 0 and at most 1,000,000 seconds")
    return number


def _flush(stream: TextIO) -> OSError | None:
    try:
        stream.flush()
    except OSError as error:
        # What is left in its buffer would be tried again, and complained of, as Python ends.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
