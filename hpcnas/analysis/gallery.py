"""Every picture of a run, or of several, by name; drawn when it is called for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from hpcnas.analysis import comparison
from hpcnas.analysis.comparison import AXES, Course
from hpcnas.analysis.effects import Effect, brought_in, in_tower
from hpcnas.analysis.models import Confusion, ModelRow
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.errors import RunError
from hpcnas.core.targets import Footprint
from hpcnas.core.trial import Result
from hpcnas.showing import pictures
from hpcnas.store.journal import Record

Pictures = Mapping[str, Callable[[], Figure]]
SHOWN = 14
"""Effects in a picture: half of them the best, half the worst."""
POINTS = 300
"""Of a course."""
ARENA = "working memory on a microcontroller, kB"


def of_search(run: ConfiguredRun, archive: Archive, records: Sequence[Record]) -> Pictures:
    """Raises RunError if no trial has a score yet."""
    if not archive.ranking:
        raise RunError(f"{run.dir.root}: no trial has a score yet")
    objective = run.objective
    finished_s = {r.event.trial: r.elapsed for r in records if isinstance(r.event, Result)}
    views = {
        "brought_in": (brought_in(archive, "kind"), "gain over the parent"),
        "in_tower": (in_tower(archive, "kind"), f"effect on validation {objective.replace('_', ' ')}"),
    }
    has_arena = all(result.cost.arena_kb for result in archive.ranking)
    return {
        "progress": partial(pictures.progress, archive, finished_s, objective),
        "params": partial(pictures.score_against, archive, objective),
        **({"arena": partial(pictures.score_against, archive, objective, "arena_kb", ARENA)} if has_arena else {}),
        "lineage": partial(pictures.lineage, archive, archive.ranking[0].trial, objective),
        **{name: partial(_effects, found, title) for name, (found, title) in views.items() if found},
    }


def of_models(rows: Sequence[ModelRow], confusion: Confusion | None) -> Pictures:
    """None before there is an ensemble."""
    if not rows or confusion is None:
        return {}
    order = sorted(rows, key=lambda row: row.name.startswith("ensemble"))
    names, tests, intervals = zip(*((row.name, row.test, row.interval) for row in order))
    return {
        "ensemble": partial(pictures.ensemble_gain, names, tests, intervals),
        "confusion": partial(pictures.confusion, confusion.counts, confusion.class_names),
    }


def on_device(rows: Sequence[ModelRow], footprints: Sequence[Footprint]) -> Pictures:
    """Models that run there; none before there is an ensemble."""
    both = [(row, of) for row, of in zip(rows, footprints) if not of.lacks]
    if not both:
        return {}
    names, costs, tests, intervals, own = zip(
        *((row.name, of.arena_kb, row.test, row.interval, row.name.startswith("ensemble")) for row, of in both)
    )
    return {"models_by_arena": partial(pictures.accuracy_by_cost, names, costs, tests, intervals, own, ARENA)}


def of_several(compared: Sequence[Course]) -> Pictures:
    """Best so far of groups of runs, over each axis."""
    return {f"by_{axis}": partial(_courses, compared, axis) for axis in AXES}


def _effects(found: Sequence[Effect], title: str) -> Figure:
    shown = found if len(found) <= SHOWN else [*found[: SHOWN // 2], *found[-SHOWN // 2 :]]
    names = [f"{one.part} ({one.trials})" for one in shown]
    return pictures.effects(names, [one.effect for one in shown], [(one.low, one.high) for one in shown], title)


def _courses(compared: Sequence[Course], axis: str) -> Figure:
    return pictures.courses(comparison.bands(compared, axis, POINTS), AXES[axis], compared[0].run.objective)
