#!/usr/bin/env python
"""Which blocks help, and at which positions: effects on the score, with 95 % intervals.

    tools/blocks.py runs/default
    tools/blocks.py runs/seed-* --by place
    tools/blocks.py runs/default --by mutation --csv

"brought in": how much more (or less) a trial gained over its parent when its mutation brought this in, against all other
mutations. "in the tower": how much higher the score is of trials that have it, once depth and the course of the search are
taken out. Intervals are Welch's, one by one: among twenty of them one is expected to miss its mark. The search chose what it
tried, so that these are hints and not an experiment. Reads journal.jsonl; changes nothing; a search may be writing the run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple

from hpcnas.analysis import command
from hpcnas.analysis.effects import EFFECT, KEYS, LEAST, brought_in, in_tower
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--by", choices=(*KEYS, "mutation"), default="kind", help="what to tell apart (default: kind)")
    parser.add_argument("--least", type=int, default=LEAST, help=f"trials with it and without it (default: {LEAST})")
    command.run(parser.parse_args(argv), blocks)


def blocks(arguments: argparse.Namespace) -> Iterator[Listing]:
    rows = []
    for run in map(ConfiguredRun.open, arguments.runs):
        archive = run.archive()
        for view, effects in (("brought in", brought_in), ("in the tower", in_tower)):
            rows += [(run.name, view, *astuple(e)) for e in effects(archive, arguments.by, arguments.least)]
    note = "in units of the score" if rows else f"no {arguments.by} has {arguments.least} trials with it and as many without"
    yield Listing("effects", ("run", "view", *EFFECT), rows, note=note)


if __name__ == "__main__":
    main()
