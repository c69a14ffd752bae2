"""What came of a run: tables on the terminal and one self-contained HTML page. Starts no MPI, changes no result.

python -m hpcnas.report RUN
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
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
from hpcnas.core.significance import bootstrap_interval, mcnemar
from hpcnas.core.trial import Result
from hpcnas.core.units import thousands
from hpcnas.store import ensemble_file, weights
from hpcnas.store.files import replacing
from hpcnas.store.journal import Record, replay
from hpcnas.store.run_dir import RunDir

NAMES = {
    "baseline": "hand-designed baseline",
    "student": "student",
    "control": "student, labels alone",
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
    interval: tuple[float, float]
    """Of ``test``: 95 %, bootstrap over examples."""
    p: float
    """McNemar's, of being as often right as the ensemble; NaN for the ensemble itself."""
    macro_f1: float
    eer: float


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
    best = archive.ranking[0]
    config = run.config.read_text(encoding="utf-8")
    objective = toml.loads(config)["search"].get("objective", "accuracy")
    top = [_top_row(archive, result, objective) for result in archive.ranking[:10]]
    cards = _cards(archive, records, models, objective)
    figures = {
        "progress": pictures.progress(archive, _finishing_times(records), objective),
        "params": pictures.score_against_params(archive, objective),
        "lineage": pictures.lineage(archive, best.trial, objective),
    }
    if models:
        order = sorted(models, key=lambda m: m.name.startswith("ensemble"))
        figures["ensemble"] = pictures.ensemble_gain(
            [m.name for m in order], [m.test for m in order], [m.interval for m in order]
        )
        figures["confusion"] = pictures.confusion(*confusion)
    page = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined).from_string(
        (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    )
    text = page.render(
        title=f"Search {run.root.resolve().name}",
        objective=objective,
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

    def row(name: str, params: int, macs: int, logits: Mapping[str, np.ndarray]) -> ModelRow:
        test, labels = logits["test"], ensemble.labels["test"]
        is_right, ensemble_is_right = (of.argmax(1) == labels for of in (test, ensemble.logits["test"]))
        return ModelRow(
            name,
            thousands(params),
            thousands(macs),
            validation=metrics.accuracy(logits["validation"], ensemble.labels["validation"]),
            test=metrics.accuracy(test, labels),
            interval=bootstrap_interval(metrics.accuracy, test, labels),
            p=float("nan") if logits is ensemble.logits else mcnemar(is_right, ensemble_is_right),
            macro_f1=metrics.macro_f1(test, labels),
            eer=metrics.eer(test, labels),
        )

    rows = [row(f"ensemble of {len(costs)}", sum(c.params for c in costs), sum(c.macs for c in costs), ensemble.logits)]
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
    rows[1:] = sorted(rows[1:], key=lambda row: not row.name.startswith("member"))
    return rows, (metrics.confusion(ensemble.logits["test"], ensemble.labels["test"]), ensemble.class_names)


def _top_row(archive: Archive, result: Result, objective: str) -> dict[str, object]:
    trial = archive.trials[result.trial]
    return {
        "id": trial.id,
        "score": pictures.as_text(result.score, objective),
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


def _cards(archive: Archive, records: Sequence[Record], models: Sequence[ModelRow], objective: str) -> list[tuple[str, str]]:
    """Headline figures: value and label."""
    results = archive.results.values()
    best = archive.ranking[0]
    cards = [
        (f"{len(results)}", f"trials, {sum(not r.state.has_score for r in results)} failed"),
        (f"{records[-1].elapsed / 60:.1f} min", f"of search, {thousands(sum(r.steps for r in results))} training steps"),
        (pictures.as_text(best.score, objective), f"best validation {objective} (trial {best.trial})"),
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
        names = ("params", "MACs", "valid.", "test", "95 %", "p")
        table = Table(
            Column("model", no_wrap=True),
            *map(_right, names),
            title="Models",
            caption="accuracies; p: McNemar's test against the ensemble",
        )
        for m in models:
            interval, p = f"{100 * m.interval[0]:.1f}-{100 * m.interval[1]:.1f}", "" if m.p != m.p else f"{m.p:.3f}"
            table.add_row(m.name, m.params, m.macs, f"{m.validation:.1%}", f"{m.test:.1%}", interval, p)
        console.print(table)
    table = Table(
        *(_right(n) for n in ("trial", "validation", "parameters", "inherited", "parent")),
        Column("architecture", overflow="fold"),
        title="Best trials",
    )
    for t in top:
        table.add_row(
            str(t["id"]),
            t["score"],
            t["params"],
            t["inherited"],
            str(t["parent"]),
            t["architecture"].replace("/", " / "),
        )
    console.print(table)


def _right(name: str) -> Column:
    return Column(name, justify="right", no_wrap=True)


if __name__ == "__main__":
    main()
