"""The report's tables: rows for its page, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Column, Table

from hpcnas.analysis.models import ModelRow
from hpcnas.analysis.printing import duration
from hpcnas.core.archive import Archive
from hpcnas.core.trial import Result, TrialState
from hpcnas.core.units import thousands
from hpcnas.pictures import as_text

BEST = 10


def trial_row(archive: Archive, result: Result, objective: str) -> dict[str, object]:
    """A trial with a score, as texts."""
    trial, cost = archive.trials[result.trial], result.cost
    return {
        "id": trial.id,
        "score": as_text(result.score, objective),
        "loss": f"{result.loss:.3f}",
        "params": thousands(cost.params),
        "macs": thousands(cost.macs),
        "on_device": f"{cost.flash_kb:.1f} / {cost.arena_kb:.1f}" if cost.flash_kb else "",
        "inherited": f"{result.inherited / max(1, cost.params):.0%}",
        "parent": "" if trial.proposal.parent is None else trial.proposal.parent,
        "seconds": f"{result.seconds:.1f}",
        "blocks": [str(block) for block in trial.architecture.blocks],
    }


def best_trials(archive: Archive, objective: str) -> list[dict[str, object]]:
    return [trial_row(archive, result, objective) for result in archive.ranking[:BEST]]


def spent(archive: Archive) -> list[dict[str, object]]:
    """What trials of each state took, as texts; states without trials are left out."""
    rows = []
    for state in TrialState:
        of = [result for result in archive.results.values() if result.state is state]
        if of:
            seconds = float(np.sum([result.seconds for result in of]))
            rows.append({
                "state": state.value,
                "trials": len(of),
                "epochs": sum(result.epochs for result in of),
                "steps": thousands(sum(result.steps for result in of)),
                "time": duration(seconds),
                "each": duration(seconds / len(of)),
            })  # fmt: skip
    return rows


def model_table(rows: Sequence[ModelRow]) -> Table:
    table = Table(
        Column("model", no_wrap=True),
        *map(_right, ("params", "MACs", "valid.", "test", "95 %", "p")),
        title="Models",
        caption="accuracies; p: McNemar's test against the ensemble",
    )
    for m in rows:
        interval, p = f"{100 * m.interval[0]:.1f}-{100 * m.interval[1]:.1f}", "" if m.p != m.p else f"{m.p:.3f}"
        table.add_row(m.name, m.params, m.macs, f"{m.validation:.1%}", f"{m.test:.1%}", interval, p)
    return table


def trial_table(archive: Archive, objective: str) -> Table:
    rows = best_trials(archive, objective)
    names = {"id": "trial", "score": "validation", "params": "parameters", "inherited": "inherited", "parent": "parent"}
    if any(row["on_device"] for row in rows):
        names["on_device"] = "flash / arena, kB"
    table = Table(*map(_right, names.values()), Column("architecture", overflow="fold"), title="Best trials")
    for row in rows:
        figures = (str(row[name]) for name in names)
        table.add_row(*figures, " / ".join(row["blocks"]))
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right", no_wrap=True)
