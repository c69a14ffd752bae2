"""Where a trial comes from, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcnas.analysis.effects import changed
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import QueryError
from hpcnas.core.trial import Trial


@dataclass(frozen=True)
class Step:
    """One trial of a line, seen from its parent.

    Args:
        change: blocks that went (-) and came (+); the whole tower for the first.
        score: NaN without a result; so is ``params`` -1.
        siblings: other children of its parent that have a score.
        best_sibling: the best of them, or -1.
    """

    trial: int
    score: float
    params: int
    mutation: str
    change: str
    siblings: int
    best_sibling: int
    architecture: str


STEP = ("trial", "score", "params", "mutation", "change", "siblings", "best_sibling", "architecture")


def chosen(archive: Archive, text: str) -> Trial:
    """The trial that ``text`` names, a number or ``best``; raises QueryError."""
    if text == "best" and archive.ranking:
        return archive.best()[0]
    if text.isdigit() and int(text) in archive.trials:
        return archive.trials[int(text)]
    known = f"0 to {max(archive.trials)}, or best" if archive.ranking else f"0 to {max(archive.trials)}"
    raise QueryError(f'no trial "{text}"; known: {known}')


def descent(archive: Archive, id_: int) -> list[Step]:
    """From the first architecture to trial ``id_``."""
    line = archive.lineage(id_)
    return [step(archive, trial, before) for before, trial in zip([None, *line], line)]


def step(archive: Archive, trial: Trial, parent: Trial | None) -> Step:
    result = archive.results.get(trial.id)
    others = [child for child in children(archive, parent.id) if child != trial.id] if parent else []
    others = [child for child in others if child in archive.results and archive.results[child].state.has_score]
    return Step(
        trial=trial.id,
        score=result.score if result else float("nan"),
        params=result.cost.params if result else -1,
        mutation=trial.proposal.mutation,
        change=change(parent.architecture if parent else None, trial.architecture),
        siblings=len(others),
        best_sibling=max(others, key=lambda child: archive.results[child].score, default=-1),
        architecture=str(trial.architecture),
    )


def children(archive: Archive, id_: int) -> list[int]:
    """Trials that began as mutations of trial ``id_``."""
    return sorted(trial.id for trial in archive.trials.values() if trial.proposal.parent == id_)


def change(before: Architecture | None, after: Architecture) -> str:
    """Such as ``-dense:units=8 +gru:layers=1,units=4``; the whole tower if there is none before."""
    if before is None:
        return str(after)
    _, gone, new = changed(before, after)
    return " ".join([*(f"-{block}" for block in gone), *(f"+{block}" for block in new)]) or "none"


def drawn(line: Sequence[Step]) -> str:
    """The line from top to bottom, as text."""
    rows, before = [], None
    for one in line:
        if one.siblings:
            rows.append(f"├── {one.siblings} other children, the best of them trial {one.best_sibling}")
        score = "" if one.score != one.score else f"{one.score:.4f}"
        gain = f" ({one.score - before:+.4f})" if before is not None and score else ""
        rows.append(f"● trial {one.trial}: {score}{gain}, {one.params} parameters, {one.mutation}")
        rows += [f"│     {part}" for part in one.change.replace("/", " ").split(" ")]
        before = one.score
    return "\n".join([*rows[:-1], rows[-1].replace("│", " ", 1)])
