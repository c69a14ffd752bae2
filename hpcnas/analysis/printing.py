"""One table in three spellings: for people, for programs (JSON), for spreadsheets (CSV)."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.table import Table

from hpcnas.core.units import thousands
from hpcnas.showing.terminal import can_show, console, plain

STYLES = ("table", "json", "csv")
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Listing:
    """Rows of plain values.

    Args:
        name: of the table, and its key in JSON.
        columns: their names; those in ``FORMATS`` are written for people in its way.
        is_tall: few rows of many columns, which people read turned round.
        note: a line for people below the table.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    is_tall: bool = False
    note: str = ""


def duration(seconds: float) -> str:
    """Such as 45.1 s, 12 min, 3.4 h, 2.1 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def size(octets: int) -> str:
    """Such as 940 B, 65.2 kB, 1.5 MB, 2.0 GB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if octets >= factor:
            return f"{octets / factor:.1f} {unit}"
    return f"{octets} B"


def sparkline(values: Sequence[float]) -> str:
    """A curve in a line of text: such as "▁▅▇ 0.1500 to 0.3100", its spaces not to be broken at."""
    if not values:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    eighths = BARS if can_show(BARS) else "12345678"
    bars = "".join(eighths[min(7, int(8 * (value - low) / span))] for value in values)
    return f"{bars}\N{NO-BREAK SPACE}{values[0]:.4f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{values[-1]:.4f}"


def share(value: float) -> str:
    return f"{value:.1%}"


def points(value: float) -> str:
    return f"{100 * value:+.2f}"


FORMATS: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(("params", "macs", "activations", "inherited", "best params", "best macs", "steps"), thousands),
    **dict.fromkeys(("score", "loss", "merit", "best score", "best loss", "score then"), "{:.4f}".format),
    **dict.fromkeys(("mean", "worst", "best"), "{:.4f}".format),
    **dict.fromkeys(("effect", "low", "high", "difference"), "{:+.4f}".format),
    **dict.fromkeys(("seconds", "elapsed_s", "trained_s", "age_s", "end_in_s", "quiet_s"), duration),
    **dict.fromkeys(("busy share", "inherited share", "share"), share),
    "bytes": size,
    "curve": sparkline,
    "architecture": lambda text: text.replace("/", " / "),
    "best architecture": lambda text: text.replace("/", " / "),
}


def spelled(name: str, value: Any) -> str:
    """A value of the column ``name`` for people; nothing for what is not known."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value != value or (name in FORMATS and isinstance(value, int) and value < 0):
        return ""
    if name in FORMATS:
        return FORMATS[name](value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(listings: Iterable[Listing], style: str = "table") -> None:
    """Print on standard output; in CSV the first listing only, which is the main one."""
    listings = list(listings)
    if style == "json":
        json.dump({of.name: [dict(zip(of.columns, map(_as_json, row))) for row in of.rows] for of in listings}, sys.stdout)
        print()
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(listings[0].columns)
        writer.writerows([_as_json(value) for value in row] for row in listings[0].rows)
    else:
        shown = console()
        for listing in listings:
            shown.print(table_of(listing))


def table_of(listing: Listing) -> Table:
    """For a terminal."""
    table = Table(title=listing.name, caption=listing.note or None, title_justify="left", caption_justify="left")
    rows = [[_as_json(value) for value in row] for row in listing.rows]
    texts = [[plain(spelled(name, value)) for name, value in zip(listing.columns, row)] for row in rows]
    if listing.is_tall:
        table.add_column(listing.columns[0], no_wrap=True)
        for row in texts:
            table.add_column(row[0], overflow="fold")
        for number, name in enumerate(listing.columns[1:], 1):
            table.add_row(name, *(row[number] for row in texts))
        return table
    for number, name in enumerate(listing.columns):
        is_figure = all(isinstance(row[number], (int, float, type(None))) for row in rows)
        word = max((cell_len(word) for row in texts for word in row[number].split()), default=0)
        table.add_column(name, justify="right" if is_figure else "left", min_width=min(word, 45), no_wrap=is_figure)
    for row in texts:
        table.add_row(*row)
    return table


def _as_json(value: Any) -> Any:
    """As JSON knows it: no numpy type, no NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
