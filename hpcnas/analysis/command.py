"""What the command lines of ``tools/`` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hpcnas.analysis.printing import Listing, show
from hpcnas.core.errors import QueryError


def parser(doc: str, runs: str = "+") -> argparse.ArgumentParser:
    """With ``doc`` as its help, run directories, and how to print.

    Args:
        runs: how many run directories, as ``nargs``; empty for none.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if runs:
        made.add_argument("runs", nargs=runs, type=Path, metavar="RUN", help="run directory")
    style = made.add_mutually_exclusive_group()
    style.add_argument("--json", dest="style", action="store_const", const="json", help="for programs")
    style.add_argument("--csv", dest="style", action="store_const", const="csv", help="for spreadsheets")
    made.set_defaults(style="table")
    return made


def run(arguments: argparse.Namespace, work: Callable[[argparse.Namespace], Iterable[Listing]]) -> None:
    """Print what ``work`` finds, in the style that was asked for."""
    show(work(arguments), arguments.style)


def names(text: str) -> Sequence[str]:
    """A list of names on a command line, with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def usage(reason: str) -> QueryError:
    """To be raised for arguments that do not go together."""
    return QueryError(f"{reason}; --help has examples")
