#!/usr/bin/env python
"""All about a trial: its blocks with shapes, parameters and multiply-accumulates, settings, learning curve, parents, children.

    tools/show.py best runs/default
    tools/show.py 117 runs/default --json
    tools/show.py best runs/seed-* --csv

Builds the model, untrained, to see what shapes it has; reads journal.jsonl. Changes nothing; a search may be writing the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from hpcnas import config as configuration
from hpcnas.analysis import command
from hpcnas.analysis.lineage import STEP, change, children, chosen, descent
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ArchitectureError
from hpcnas.core.trial import Trial
from hpcnas.data.features import frames_of
from hpcnas.nn.cost import parts
from hpcnas.nn.model import build_model
from hpcnas.showing.terminal import outer_edge
from hpcnas.store import archive_file, model_card, running_file

OF_RESULT = (
    "state",
    "score",
    "loss",
    "merit",
    "params",
    "macs",
    "activations",
    "epochs",
    "steps",
    "inherited",
    "seconds",
    "group",
    "error",
)
ON_DEVICE = ("flash_kb", "arena_kb", "device_ms")
"""Said too where a target is named."""


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, runs="")
    parser.add_argument("trial", metavar="TRIAL", help="its number, or best")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory")
    command.run(parser.parse_args(argv), show)


def show(arguments: argparse.Namespace) -> Iterator[Listing]:
    found = []
    for path in arguments.runs:
        run = ConfiguredRun.open(path)
        archive = run.archive()
        found.append((run, archive, chosen(archive, arguments.trial)))
    has_target = any(t.id in archive.results and archive.results[t.id].cost.flash_kb for _, archive, t in found)
    names = OF_RESULT + (ON_DEVICE if has_target else ())
    figures = [about(run, archive, trial, names) for run, archive, trial in found]
    yield Listing("trials", tuple(figures[0]), [tuple(row.values()) for row in figures], is_tall=True)
    yield Listing(
        "blocks",
        ("run", "part", "block", "gives", "params", "macs", "share"),
        [(run.name, *row) for run, _, trial in found for row in blocks(run, trial)],
        note="gives: channels (x bands) x frames of one example; share: of the parameters",
    )
    parents, below = [], []
    for run, archive, trial in found:
        parents += [(run.name, *astuple(step)[:5]) for step in descent(archive, trial.id)[:-1]]
        for child in (archive.trials[id_] for id_ in children(archive, trial.id)):
            score = archive.results[child.id].score if child.id in archive.results else None
            below.append((run.name, child.id, score, child.proposal.mutation, change(trial.architecture, child.architecture)))
    yield Listing("parents", ("run", *STEP[:5]), parents, note="from the first architecture on")
    yield Listing("children", ("run", "trial", "score", "mutation", "change"), below)


def about(run: ConfiguredRun, archive: Archive, trial: Trial, names: Sequence[str]) -> dict[str, object]:
    """Figures of the trial and, by columns of the archive, of its result, if it has one."""
    curve = running_file.load(run.dir.search.running).get(trial.id, ())  # of one that runs, or was cut off
    result, weights = archive.results.get(trial.id), run.dir.search.weights(trial.id)
    of_result = {name: archive_file.COLUMNS[name].values([(trial, result)])[0] for name in names}
    rank = next((place for place, r in enumerate(archive.ranking, 1) if r.trial == trial.id), None)
    return {
        "run": run.name,
        "trial": trial.id,
        **of_result,
        "rank": rank,
        "curve": list(result.curve if result and len(result.curve) > len(curve) else curve),
        "mutation": trial.proposal.mutation,
        "parent": trial.proposal.parent,
        "team": list(trial.proposal.team),
        "settings": dict(trial.proposal.settings),
        "seed": trial.seed,
        "attempt": trial.attempt,
        "architecture": str(trial.architecture),
        "weights": str(weights) if weights.exists() else None,
    }


def blocks(run: ConfiguredRun, trial: Trial) -> list[tuple]:
    """What goes in, and what each block gives and costs; for a tower that cannot be built, why."""
    config, card = configuration.load(run.dir.config), model_card.load(run.dir.model_card)
    bands, frames = len(card.mean), frames_of(config.data.window_s, config.features.bank)
    around = config.space.surroundings(bands, len(card.class_names))
    try:
        model = build_model(trial.architecture, around, seed=0)
    except ArchitectureError as error:
        return [("error", str(error), "", None, None, None)]
    spelled = {
        **{f"blocks.{i}": str(block) for i, block in enumerate(trial.architecture.blocks)},
        **{f"tail.{i}": str(block) for i, block in enumerate(around.tail)},
        "head": around.head,
        "classifier": "",
    }
    found = parts(model, bands, frames)
    total = sum(part.cost.params for part in found)
    return [("input", "", f"{bands} x {frames}", None, None, None)] + [
        (p.name, spelled[p.name], " x ".join(map(str, p.shape)), p.cost.params, p.cost.macs, p.cost.params / total)
        for p in found
    ]


if __name__ == "__main__":
    main()
