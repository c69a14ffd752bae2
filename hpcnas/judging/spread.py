"""How the worst beside the mean is told: tables and values of groups and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Column, Table

from hpcnas.core.worst import LEAST, Grouping, Robustness, Share, UnderCondition
from hpcnas.showing.terminal import plain

CONDITION_COLUMNS = ("condition", "accuracy", "95 % interval", "points", "p")
GROUPING_COLUMNS = ("groups by", "groups", "mean", "worst", "recordings", "accuracy", "95 % interval")


def grouping_values(grouping: Grouping) -> dict:
    told = {"mean": grouping.mean, "worst": asdict(grouping.worst)} if grouping.rows else {}
    return told | {"groups": [asdict(row) for row in grouping.rows], "with_too_few": grouping.few, "unknown": grouping.unknown}


def robustness_values(found: Robustness) -> dict:
    rows = {row.share.name: {**asdict(row.share), "change": row.change, "p": row.p} for row in found.rows}
    ends = {"clean": asdict(found.clean), "mean": asdict(found.mean), "worst": found.worst.share.name}
    return {**ends, "conditions": rows, "not_tried": list(found.untold)}


def show_groupings(console: Console, groupings: Sequence[Grouping]) -> None:
    if any(one.rows for one in groupings):
        right = (Column(name, justify="right") for name in GROUPING_COLUMNS[1:4])
        table = Table(GROUPING_COLUMNS[0], *right, *(Column(name, justify="right") for name in GROUPING_COLUMNS[4:]))
        for one in groupings:
            if one.rows:
                table.add_row(*map(plain, grouping_cells(one)))
        console.print(table)
    for line in map(few_told, groupings):
        if line:
            console.print(line, soft_wrap=True)


def show_robustness(console: Console, found: Robustness) -> None:
    table = Table(CONDITION_COLUMNS[0], *(Column(name, justify="right") for name in CONDITION_COLUMNS[1:]))
    for cells in condition_cells(found):
        table.add_row(*cells)
    console.print(table)
    for line in found.untold:
        console.print(line, soft_wrap=True)


def grouping_cells(grouping: Grouping) -> list[str]:
    """Texts below ``GROUPING_COLUMNS``."""
    worst = grouping.worst
    told = [grouping.by, str(len(grouping.rows)), f"{grouping.mean:.1%}", worst.name, str(worst.count)]
    return [*told, f"{worst.value:.1%}", interval_text(worst)]


def few_told(grouping: Grouping) -> str:
    """What is not told of groups; empty if all is."""
    said = [f"{grouping.few} with fewer than {LEAST} recordings not told"] if grouping.few else []
    said += [f"of {grouping.unknown} recordings it is not known"] if grouping.unknown else []
    return f"groups by {plain(grouping.by)}: {', '.join(said)}" if said else ""


def condition_cells(found: Robustness) -> list[list[str]]:
    """Texts below ``CONDITION_COLUMNS``: as recorded, each condition, their mean and the worst."""

    def changed(row: UnderCondition) -> list[str]:
        return [f"{100 * row.change:+.1f}", f"{row.p:.3f}"]

    rows = [[one.share.name, f"{one.share.value:.1%}", interval_text(one.share), *changed(one)] for one in found.rows]
    mean, worst = found.mean, found.worst
    ends = [
        [mean.name, f"{mean.value:.1%}", interval_text(mean), f"{100 * (mean.value - found.clean.value):+.1f}", ""],
        [f"worst: {worst.share.name}", f"{worst.share.value:.1%}", interval_text(worst.share), *changed(worst)],
    ]
    return [[found.clean.name, f"{found.clean.value:.1%}", interval_text(found.clean), "", ""], *rows, *ends]


def interval_text(share: Share) -> str:
    return " to ".join(f"{100 * end:.1f}" for end in share.interval)
