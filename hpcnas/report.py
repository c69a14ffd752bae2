"""What came of a run: tables on the terminal and one self-contained HTML page. Starts no MPI, changes no result.

python -m hpcnas.report RUN
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import toml
from rich.console import Console
from rich.table import Column, Table

from hpcnas import pictures
from hpcnas.core import metrics
from hpcnas.core.archive import Archive
from hpcnas.core.errors import HpcnasError, RunError
from hpcnas.core.trial import Result
from hpcnas.core.units import thousands
from hpcnas.store import ensemble_file, weights
from hpcnas.store.files import replacing
from hpcnas.store.journal import Record, replay
from hpcnas.store.run_dir import RunDir

NAMES = {
    "baseline": "hand-designed baseline",
    "student": "student of the ensemble",
    "control": "the same without teachers",
}
"""What models beside the members are called, by their proposal's mutation."""


@dataclass(frozen=True)
class ModelRow:
    """Figures of a member, the ensemble or the baseline; shares in [0, 1]."""

    name: str
    params: str
    macs: str
    validation: float
    test: float
    error: float
    """Standard error of ``test``."""
    balanced: float


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.report", description="Tables and an HTML page about a run.")
    parser.add_argument("run", type=Path, help="run directory")
    try:
        report(RunDir(parser.parse_args(argv).run), Console())
    except HpcnasError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


def report(run: RunDir, console: Console) -> None:
    """Print the tables and write the page; raises RunError if there is nothing to report yet."""
    run.require()
    records = replay(run.search.journal)
    archive = Archive(record.event for record in records)
    if not archive.ranking:
        raise RunError(f"{run.root}: no trial has a score yet; search first")
    models, confusion = _models(run)
    top = [_top_row(archive, result) for result in archive.ranking[:10]]
    best = archive.ranking[0]
    cards = _cards(archive, records, models)
    figures = {
        "progress": pictures.progress(archive, _finishing_times(records)),
        "params": pictures.accuracy_against_params(archive),
        "lineage": pictures.lineage(archive, best.trial),
    }
    if models:
        order = sorted(models, key=lambda m: m.name.startswith("ensemble"))
        figures["ensemble"] = pictures.ensemble_gain([m.name for m in order], [m.test for m in order], [m.error for m in order])
        figures["confusion"] = pictures.confusion(*confusion)
    page = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined).from_string(
        (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    )
    config = run.config.read_text(encoding="utf-8")
    text = page.render(
        title=f"Search {run.root.resolve().name}",
        subtitle=f"{toml.loads(config)['data']['name']}: best architecture {archive.trials[best.trial].architecture}",
        cards=cards,
        models=models,
        top=top,
        pictures={name: pictures.to_svg(figure) for name, figure in figures.items()},
        config=config,
        environment=run.environment.read_text(encoding="utf-8"),
    )
    with replacing(run.report) as part:
        part.write_text(text, encoding="utf-8")
    _print(console, models, top, cards)
    console.print(f"page: {run.report}", soft_wrap=True, highlight=False)


def _models(run: RunDir) -> tuple[list[ModelRow], tuple[np.ndarray, Sequence[str]] | None]:
    """Members, ensemble and baseline, with the ensemble's confusion matrix; nothing before the ensemble is complete."""
    if not run.ensemble_file.exists():
        return [], None
    ensemble = ensemble_file.load(run.ensemble_file)
    archive = Archive(record.event for record in replay(run.ensemble.journal))
    archives = {"ensemble": archive, "search": Archive(record.event for record in replay(run.search.journal))}
    costs = [archives[member.stage].results[member.trial].cost for member in ensemble.members]

    def row(name: str, params: int, macs: int, logits: dict[str, np.ndarray]) -> ModelRow:
        labels, test = ensemble.labels, metrics.accuracy(logits["test"], ensemble.labels["test"])
        return ModelRow(
            name, thousands(params), thousands(macs), metrics.accuracy(logits["validation"], labels["validation"]), test,
            metrics.standard_error(test, len(labels["test"])), metrics.balanced_accuracy(logits["test"], labels["test"]),
        )  # fmt: skip

    rows = [row(f"ensemble of {len(costs)}", sum(c.params for c in costs), sum(c.macs for c in costs), dict(ensemble.logits))]
    places = {member.trial: place for place, member in enumerate(ensemble.members) if member.stage == "ensemble"}
    students = Archive(record.event for record in replay(run.student.journal))
    for stage, trained in ((run.ensemble, archive), (run.student, students)):
        for trial in trained.trials.values():
            result = trained.results.get(trial.id)
            if result is None or not result.state.has_score:
                continue
            if trial.proposal.mutation in NAMES:
                name = NAMES[trial.proposal.mutation]
            else:
                name = f"member {places[trial.id]}" if trial.id in places else f"finalist {trial.id}"
            logits = {split: weights.load_logits(stage.weights(trial.id), split) for split in ensemble.logits}
            rows.append(row(name, result.cost.params, result.cost.macs, logits))
    return rows, (metrics.confusion(ensemble.logits["test"], ensemble.labels["test"]), ensemble.class_names)


def _top_row(archive: Archive, result: Result) -> dict[str, object]:
    trial = archive.trials[result.trial]
    return {
        "id": trial.id,
        "score": result.score,
        "loss": result.loss,
        "params": thousands(result.cost.params),
        "macs": thousands(result.cost.macs),
        "inherited": f"{result.inherited / result.cost.params:.0%}",
        "parent": "" if trial.proposal.parent is None else trial.proposal.parent,
        "seconds": result.seconds,
        "architecture": str(trial.architecture),
    }


def _finishing_times(records: Sequence[Record]) -> dict[int, float]:
    return {r.event.trial: r.elapsed for r in records if isinstance(r.event, Result)}


def _cards(archive: Archive, records: Sequence[Record], models: Sequence[ModelRow]) -> list[tuple[str, str]]:
    """Headline figures: value and label."""
    results = archive.results.values()
    best = archive.ranking[0]
    cards = [
        (f"{len(results)}", f"trials, {sum(not r.state.has_score for r in results)} failed"),
        (f"{records[-1].elapsed / 60:.1f} min", f"of search, {thousands(sum(r.steps for r in results))} training steps"),
        (f"{best.score:.1%}", f"best validation accuracy (trial {best.trial})"),
        (thousands(best.cost.params), "parameters of the best architecture"),
    ]
    if models:
        cards.append((f"{models[0].test:.1%}", f"test accuracy of the {models[0].name}"))
        members = [m.test for m in models if m.name.startswith("member")]
        cards.append((f"{100 * (models[0].test - np.mean(members)):+.1f} points", "ensemble against the mean of its members"))
        for model in models:
            if model.name.startswith("hand"):
                cards.append(
                    (f"{100 * (models[0].test - model.test):+.1f} points", "ensemble against the hand-designed baseline")
                )
    return cards


def _print(console: Console, models: Sequence[ModelRow], top: Sequence[dict], cards: Sequence[tuple[str, str]]) -> None:
    for value, label in cards:
        console.print(f"{value:>12}  {label}", highlight=False)
    if models:
        table = Table("model", *(_right(n) for n in ("parameters", "MACs", "validation", "test", "± s.e.")), title="Models")
        for m in models:
            table.add_row(m.name, m.params, m.macs, f"{m.validation:.2%}", f"{m.test:.2%}", f"{100 * m.error:.2f}")
        console.print(table)
    table = Table(
        *(_right(n) for n in ("trial", "validation", "parameters", "inherited", "parent")),
        Column("architecture", overflow="fold"),
        title="Best trials",
    )
    for t in top:
        table.add_row(
            str(t["id"]),
            f"{t['score']:.2%}",
            t["params"],
            t["inherited"],
            str(t["parent"]),
            t["architecture"].replace("/", " / "),
        )
    console.print(table)


def _right(name: str) -> Column:
    return Column(name, justify="right")


if __name__ == "__main__":
    main()
