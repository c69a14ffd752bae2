"""The report's tables: rows for its page, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Column, Table

from hpcnas.analysis.models import ModelRow
from hpcnas.analysis.printing import duration
from hpcnas.core.archive import Archive
from hpcnas.core.targets import Footprint
from hpcnas.core.trial import Result, TrialState
from hpcnas.core.units import thousands
from hpcnas.showing.pictures import as_text

BEST = 10


def trial_row(archive: Archive, result: Result, objective: str) -> dict[str, Any]:
    """A trial with a score, as texts."""
    trial, cost = archive.trials[result.trial], result.cost
    return {
        "id": trial.id,
        "score": as_text(result.score, objective),
        "loss": f"{-result.merits[-1] if result.merits else result.loss:.3f}",
        "params": thousands(cost.params),
        "macs": thousands(cost.macs),
        "on_device": f"{cost.flash_kb:.1f} / {cost.arena_kb:.1f}" if cost.flash_kb else "",
        "inherited": f"{result.inherited / max(1, cost.params):.0%}",
        "parent": "" if trial.proposal.parent is None else trial.proposal.parent,
        "seconds": f"{result.seconds:.1f}",
        "blocks": [str(block) for block in trial.architecture.blocks],
    }


def best_trials(archive: Archive, objective: str) -> list[dict[str, Any]]:
    return [trial_row(archive, result, objective) for result in archive.ranking[:BEST]]


def spent(archive: Archive) -> list[dict[str, Any]]:
    """What trials of each state took, as texts; states without trials are left out."""
    rows: list[dict[str, Any]] = []
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


def trial_table(archive: Archive, objective: str, ranked_by: str) -> Table:
    rows = best_trials(archive, objective)
    names = {"id": "trial", "score": "validation", "loss": ranked_by, "params": "parameters"}
    names |= {"inherited": "inherited", "parent": "parent"}
    if any(row["on_device"] for row in rows):
        names["on_device"] = "flash / arena, kB"
    table = Table(*map(_right, names.values()), Column("architecture", overflow="fold"), title="Best trials")
    for row in rows:
        figures = (str(row[name]) for name in names)
        table.add_row(*figures, " / ".join(row["blocks"]))
    return table


def device_rows(footprints: Sequence[Footprint]) -> list[dict[str, str]]:
    """What models take on a microcontroller, as texts; ``lacks`` says why one does not run there."""
    rows = []
    for of in footprints:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(of.operators.items(), key=lambda one: (-one[1], one[0])))
        rows.append({
            "name": of.name,
            "flash": f"{of.flash_kb:.1f}",
            "arena": f"{of.arena_kb:.1f}",
            "macs": thousands(of.macs),
            "ms": f"{of.device_ms:.0f}" if of.device_ms else "",
            "operators": str(sum(of.operators.values())),
            "kinds": kinds,
            "lacks": of.lacks,
        })  # fmt: skip
    return rows


def device_table(footprints: Sequence[Footprint], caption: str) -> Table:
    names = {"flash": "flash, kB", "arena": "arena, kB", "macs": "MACs", "ms": "ms", "operators": "operators"}
    rows = device_rows(footprints)
    if not any(row["ms"] for row in rows):
        del names["ms"]
    lacking = [Column("tflite-micro cannot run", overflow="fold")] if any(row["lacks"] for row in rows) else []
    table = Table(Column("model", no_wrap=True), *map(_right, names.values()), *lacking, title="On a microcontroller")
    table.caption = caption
    for row in rows:
        figures = ("" if row["lacks"] else row[name] for name in names)
        table.add_row(row["name"], *figures, *([row["lacks"]] if lacking else []))
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right", no_wrap=True)
