"""What is in a run, in one row of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import Columns, ConfiguredRun, front, has_score, ranking
from hpcnas.core.trial import TrialState
from hpcnas.store.archive_file import RUNNING
from hpcnas.store.journal_reader import last

FIGURES = (
    "id", "state", "score", "loss", "merit", "params", "macs", "depth", "seconds", "epochs", "steps", "inherited", "group",
)  # fmt: skip
ON_FRONT = ("id", "score", "loss", "params", "macs", "depth", "architecture")


@dataclass(frozen=True)
class Summary:
    """Figures of a run; NaN, -1 and empty while nothing is known.

    Args:
        states: trials by state, ``running`` for those without a result.
        best: row of the best trial, as in ``ON_FRONT``.
        front: rows of the Pareto front of score and parameters, smallest first.
        elapsed_s: search time up to the newest event, resumed parts added up.
        groups: how many have sent results.
        trained_s: what finished trials took, of all groups together.
        inherited_share: of the parameters of all trials with a score, those that began as a donor's.
    """

    run: str
    data: str
    strategy: str
    inheritance: str
    stopping: str
    objective: str
    is_complete: bool
    states: dict[str, int]
    best: tuple
    front: Sequence[tuple]
    elapsed_s: float
    groups: int
    trained_s: float
    epochs: int
    steps: int
    inherited_share: float

    @property
    def busy_share(self) -> float:
        """Share of the groups' time that went into finished trials: they may be fewer than a resumed part had."""
        return self.trained_s / (self.groups * self.elapsed_s) if self.groups and self.elapsed_s else float("nan")


def summarise(run: ConfiguredRun) -> Summary:
    """Raises RunError if the run has no trials yet."""
    columns = run.columns((*FIGURES, "architecture"))
    newest = last(run.dir.search.journal)
    states, counts = np.unique(columns["state"].astype(str), return_counts=True)
    of = dict(zip(states.tolist(), counts.tolist()))
    scored = has_score(columns)
    trained = columns["epochs"] > 0
    params = int(columns["params"][scored].sum())
    return Summary(
        run=run.name,
        data=run.config.get("data", {}).get("name", ""),
        strategy=run.part("strategy"),
        inheritance=run.part("inheritance"),
        stopping=run.part("stopping"),
        objective=run.objective,
        is_complete=run.dir.search.complete.exists(),
        states={state: of.get(state, 0) for state in (*(s.value for s in TrialState), RUNNING)},
        best=_rows(columns, ranking(columns)[:1])[0] if scored.any() else (-1, *5 * [float("nan")], ""),
        front=_rows(columns, front(columns)),
        elapsed_s=newest.elapsed if newest else 0.0,
        groups=len(np.unique(columns["group"][trained])),
        trained_s=float(np.nansum(columns["seconds"])),
        epochs=int(columns["epochs"][trained].sum()),
        steps=int(columns["steps"][trained].sum()),
        inherited_share=int(columns["inherited"][scored].sum()) / params if params else float("nan"),
    )


def _rows(columns: Columns, rows: np.ndarray) -> list[tuple]:
    return list(zip(*(columns[name][rows].tolist() for name in ON_FRONT)))


def listings(summaries: Sequence[Summary]) -> list[Listing]:
    """All figures, one run a row, then the Pareto fronts."""
    rows, on_front = [], []
    for one in summaries:
        figures = asdict(one)
        states, best = figures.pop("states"), dict(zip((f"best {name}" for name in ON_FRONT), figures.pop("best")))
        best["best trial"] = best.pop("best id")
        on_front += [(one.run, *row) for row in figures.pop("front")]
        figures["inherited share"] = figures.pop("inherited_share")
        rows.append({**figures, "busy share": one.busy_share, "trials": sum(states.values()), **states, **best})
    columns = tuple(rows[0])
    return [
        Listing("runs", columns, [tuple(row.values()) for row in rows], is_tall=True),
        Listing("Pareto front", ("run", "trial", *ON_FRONT[1:]), on_front, note="no smaller trial of the run is as good"),
    ]
