#!/usr/bin/env python
"""How a run came to a trial: every ancestor from the first architecture on, with what each mutation changed and gained.

    tools/lineage.py runs/default
    tools/lineage.py runs/default --trial 117 --json
    tools/lineage.py runs/default --svg lineage.svg

Reads journal.jsonl. Changes nothing in the run; a search may be writing it meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from hpcnas.analysis import command
from hpcnas.analysis.lineage import STEP, chosen, descent, drawn
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing import pictures
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--trial", default="best", help="number of a trial (default: the best one)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it as well; one run only")
    command.run(parser.parse_args(argv), lineage)


def lineage(arguments: argparse.Namespace) -> Iterator[Listing]:
    runs = [ConfiguredRun.open(path) for path in arguments.runs]
    if arguments.svg and len(runs) > 1:
        raise command.usage("--svg draws one run")
    rows = []
    for run in runs:
        archive = run.archive()
        trial = chosen(archive, arguments.trial)
        line = descent(archive, trial.id)
        rows += [(run.name, *astuple(step)) for step in line]
        if arguments.style == "table":
            print(f"{run.name}: from the first architecture to trial {trial.id}\n{drawn(line)}\n")
        if arguments.svg:
            arguments.svg.write_text(pictures.to_svg(pictures.lineage(archive, trial.id, run.objective)), encoding="utf-8")
    if arguments.style != "table":
        yield Listing("lineage", ("run", *STEP), rows)


if __name__ == "__main__":
    main()
