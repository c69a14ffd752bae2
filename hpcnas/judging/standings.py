"""What a comparison of models ends with: a table for people, values for programs, and a page. Starts no MPI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Column, Table

from hpcnas.core.contest import Standing
from hpcnas.core.units import thousands
from hpcnas.showing import pictures
from hpcnas.showing.terminal import plain
from hpcnas.store.files import replacing
from hpcnas.zoo import ZOO

COLUMNS = ("parameters", "MACs", "ms", "test accuracy", "95 %", "EER", "behind the best", "95 %", "p")
NOTE = (
    "Means over trainings; intervals over trainings and examples. ms: one example on one core. The best ranks "
    "first on validation; behind it: points of accuracy; p: McNemar's test of being as often right."
)


@dataclass(frozen=True)
class Row:
    """One model: how good it is, and what it costs."""

    standing: Standing
    architecture: str
    params: int
    macs: int
    latency_ms: float
    """Of one example on one core."""
    seconds: float
    """Of one training, mean."""
    flash_kb: float = 0.0
    arena_kb: float = 0.0
    """Of the int8 graph on the target, in units of 1024 bytes; 0: the space has none."""

    @property
    def name(self) -> str:
        return self.standing.name

    @property
    def paper(self) -> str:
        return ZOO[self.name].paper if self.name in ZOO else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts below ``Outcome.columns``."""
        s = self.standing
        against = ("best", "", "")
        if not s.is_best:
            low, high = s.behind_interval
            against = (
                f"{100 * s.behind:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{s.p:.3f}" if s.p >= 0.001 else "< 0.001",
            )
        return (
            thousands(self.params),
            thousands(self.macs),
            f"{self.latency_ms:.2f}",
            *([f"{self.flash_kb:.1f} / {self.arena_kb:.1f}"] if self.flash_kb else []),
            f"{s.accuracy:.1%}",
            f"{s.interval[0]:.1%} to {s.interval[1]:.1%}",
            f"{s.eer:.2%}",
            *against,
        )


@dataclass(frozen=True)
class Outcome:
    """Of a comparison.

    Args:
        rows: highest test accuracy first.
        left_out: models that are not in the table, and why.
        examples: of the test split.
        epochs: of each training.
    """

    rows: Sequence[Row]
    left_out: Mapping[str, str]
    examples: int
    epochs: int

    @property
    def title(self) -> str:
        trainings = max((len(row.standing.accuracies) for row in self.rows), default=0)
        return f"{len(self.rows)} models, {trainings} trainings of {self.epochs} epochs each, {self.examples} test examples"

    @property
    def columns(self) -> tuple[str, ...]:
        """Above each row's ``cells``: all models are meant for the same target, or none."""
        has_target = any(row.flash_kb for row in self.rows)
        return (*COLUMNS[:3], *(["flash / arena, kB"] if has_target else []), *COLUMNS[3:])

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why models are left out, and which: one entry a limit."""
        found: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            figure, comma, limit = reason.partition(", over ")
            found.setdefault(f"over {limit}" if comma else reason, []).append(f"{name} ({figure})" if comma else name)
        return found


def save(path: Path, outcome: Outcome) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(as_values(outcome), indent=1), encoding="utf-8")


def load(path: Path) -> Outcome:
    """What ``save`` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for row in values.pop("models"):
        row.pop("paper")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.pop("standing").items()
        }
        given["p"] = float("nan") if given["p"] is None else given["p"]
        rows.append(Row(Standing(**given), **row))
    return Outcome(rows, **values)


def as_values(outcome: Outcome) -> dict[str, Any]:
    """For programs: numbers by name; ``p`` is null for the best."""
    values = asdict(outcome)
    models = [{"paper": row.paper, **fields} for row, fields in zip(outcome.rows, values.pop("rows"))]
    for model in models:
        model["standing"]["p"] = None if model["standing"]["p"] != model["standing"]["p"] else model["standing"]["p"]
    return {"models": models, **values}


def show(console: Console, outcome: Outcome) -> None:
    """For people."""
    table = Table(Column("model", no_wrap=True), *(Column(name, justify="right") for name in outcome.columns))
    table.title, table.caption = outcome.title, NOTE
    for row in outcome.rows:
        table.add_row(plain(row.name), *row.cells)
    console.print(table)
    for reason, names in outcome.reasons.items():
        console.print(f"left out, {reason}: {', '.join(names)}", soft_wrap=True)


def write_page(path: Path, name: str, outcome: Outcome) -> None:
    """One self-contained HTML page."""
    template = (Path(__file__).parent / "standings.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template)
    costs = {"parameters": "params", "multiply-accumulates per example": "macs", "ms per example on one core": "latency_ms"}
    text = page.render(
        name=name,
        outcome=outcome,
        columns=outcome.columns,
        note=NOTE,
        pictures=[_picture(outcome, cost, label) for label, cost in costs.items()],
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _picture(outcome: Outcome, cost: str, label: str) -> str:
    rows = outcome.rows
    drawn = pictures.accuracy_by_cost(
        [row.name for row in rows],
        [getattr(row, cost) for row in rows],
        [row.standing.accuracy for row in rows],
        [row.standing.interval for row in rows],
        [row.name not in ZOO for row in rows],
        label,
    )
    return pictures.to_svg(drawn).replace("<svg ", f'<svg role="img" aria-label="test accuracy of all models over {label}" ', 1)
