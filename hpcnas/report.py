"""What came of a run: tables on the terminal and one self-contained HTML page. Starts no MPI, changes no result.

python -m hpcnas.report RUN [--against RUN ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from hpcnas.analysis import circumstances, comparison, gallery, summary
from hpcnas.analysis.comparison import AXES
from hpcnas.analysis.effects import brought_in
from hpcnas.analysis.models import ModelRow, models
from hpcnas.analysis.printing import duration, share
from hpcnas.analysis.report_tables import (
    BEST,
    best_trials,
    device_rows,
    device_table,
    model_table,
    spent,
    trial_row,
    trial_table,
)
from hpcnas.analysis.summary import Summary
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.errors import HpcnasError, RunError
from hpcnas.core.pareto import pareto_front
from hpcnas.core.targets import Footprint
from hpcnas.core.units import thousands
from hpcnas.judging.footprint import footprints
from hpcnas.showing import pictures
from hpcnas.showing.terminal import console, outer_edge
from hpcnas.store.files import replacing

LABELS = {
    "progress": "score of every trial and the best so far, over time and over training steps",
    "params": "score against parameters, with the Pareto front",
    "arena": "score against working memory on a microcontroller, with the Pareto front",
    "models_by_arena": "test accuracy of all models over working memory on a microcontroller",
    "lineage": "the winner's ancestors block by block",
    "brought_in": "gain over the parent by the kind of block that a mutation brought in",
    "in_tower": "effect on the score of having a kind of block",
    "ensemble": "test accuracy of all models with intervals",
    "confusion": "confusion matrix of the ensemble",
    "by_steps": "best score so far of groups of runs over training steps",
    "by_time": "best score so far of groups of runs over search time",
}
"""What pictures show, for those who do not see them."""


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.report", description="Tables and an HTML page about a run.")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument(
        "--against", nargs="+", default=[], type=Path, metavar="RUN", help="runs to compare it with on the page"
    )
    arguments = parser.parse_args(argv)
    report(ConfiguredRun.open(arguments.run), [ConfiguredRun.open(path) for path in arguments.against])


def report(run: ConfiguredRun, others: Sequence[ConfiguredRun] = ()) -> None:
    """Print the tables and write the page; raises RunError if there is nothing to report yet."""
    records = run.records()
    archive = Archive(record.event for record in records)
    if not archive.ranking:
        raise RunError(f"{run.dir.root}: no trial has a score yet; search first")
    rows, confusion = models(run.dir)
    on_device, device_note = on_microcontroller(run, archive, rows)
    figures = {
        **gallery.of_search(run, archive, records),
        **gallery.of_models(rows, confusion),
        **gallery.on_device(rows, on_device),
    }
    standings, pairs, end, differs = [], [], 0.0, ""
    if others:
        compared = comparison.courses([run, *others])
        end = comparison.common_end(compared, "steps")
        standings = comparison.standings(compared, "steps", end, archive.ranking[0].score)
        pairs = comparison.pairs(compared, "steps", end)
        figures.update(gallery.of_several(compared))
        differs = circumstances.difference([run, *others])
    headlines = cards(summary.summarise(run), rows)
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (Path(__file__).parent / "showing" / "report.html").read_text(encoding="utf-8")
    )
    text = page.render(
        title=f"Search {run.name}",
        objective=run.objective,
        ranked_by=run.ranked_by,
        subtitle=f"{run.config['data']['name']}: best architecture {archive.best()[0].architecture}",
        cards=headlines,
        models=rows,
        on_device=device_rows(on_device),
        device_note=device_note,
        top=best_trials(archive, run.objective),
        front=[trial_row(archive, result, run.objective) for result in pareto_front(archive.ranking)],
        effects=brought_in(archive, "block")[:8],
        spent=spent(archive),
        standings=standings,
        pairs=pairs,
        differs=differs,
        end=f"{thousands(round(end))} {AXES['steps']}",
        pictures={name: _svg(name, figures[name]()) for name in LABELS if name in figures},
        config=run.dir.config.read_text(encoding="utf-8"),
        environment=run.dir.environment.read_text(encoding="utf-8"),
    )
    with replacing(run.dir.report) as part:
        # Of a folder's name those bytes that are no text.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    shown = console()
    for value, label in headlines:
        shown.print(f"{value:>12}  {label}")
    tables = [model_table(rows)] if rows else []
    tables += [device_table(on_device, device_note)] if on_device else []
    for table in (*tables, trial_table(archive, run.objective, run.ranked_by)):
        shown.print(table)
    if differs:
        shown.print(differs, soft_wrap=True)
    shown.print(f"page: {run.dir.report}", soft_wrap=True)


def on_microcontroller(run: ConfiguredRun, archive: Archive, rows: Sequence[ModelRow]) -> tuple[list[Footprint], str]:
    """What the models take there, or before there are any the best trials, and a line on what these figures are."""
    best = {f"trial {of.trial}": (archive.trials[of.trial].architecture,) for of in archive.ranking[:BEST]}
    try:
        found = footprints(run.dir, {row.name: row.towers for row in rows} or best)
    except HpcnasError as error:
        print(f"note: what models take on a microcontroller is left out: {error}", file=sys.stderr)
        return [], ""
    space = run.config["space"]
    unit = "step of a stream" if space["causal"] else "window"
    processor = f", time by estimate on {space['device']}" if space.get("device") else ""
    return found, f"of 8-bit integers in tflite-micro, kB of 1024 bytes; MACs of one {unit}{processor}"


def cards(one: Summary, rows: Sequence[ModelRow]) -> list[tuple[str, str]]:
    """Headline figures: value and label."""
    best = dict(zip(summary.ON_FRONT, one.best))
    failed = one.states["failed"] + one.states["infeasible"]
    found = [
        (str(sum(one.states.values())), f"trials, {failed} failed, {one.states['paused']} paused"),
        (duration(one.elapsed_s), f"of search, {thousands(one.steps)} training steps"),
        (share(one.busy_share), f"of the time of {one.groups} group(s) spent on finished trials"),
        (share(one.inherited_share), "of all parameters began as a donor's"),
        (
            pictures.as_text(best["score"], one.objective),
            f"validation {one.objective} of trial {best['id']}, which ranks first",
        ),
        (thousands(best["params"]), "parameters of the best architecture"),
    ]
    if rows:
        members = [m.test for m in rows if m.name.startswith("member")]
        found.append((f"{rows[0].test:.1%}", f"test accuracy of the {rows[0].name}"))
        against = [("the mean of its members", float(np.mean(members)))] if members else []
        against += [("the hand-designed baseline", m.test) for m in rows if m.name.startswith("hand")]
        found += [(f"{100 * (rows[0].test - test):+.1f} points", f"ensemble against {name}") for name, test in against]
    return found


def _svg(name: str, figure: pictures.Figure) -> str:
    return pictures.to_svg(figure).replace("<svg ", f'<svg role="img" aria-label="{LABELS[name]}" ', 1)


if __name__ == "__main__":
    main()
