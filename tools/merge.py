#!/usr/bin/env python
"""Several runs as one new run, which a search goes on from: all trials and results, numbered anew, and their weights.

    tools/merge.py runs/seed-0 runs/seed-1 --out runs/merged
    tools/merge.py runs/night-1 runs/night-2 runs/night-3 --out runs/all --json
    mpirun -np 64 python -m hpcnas.search --run runs/merged --resume --set search.max_trials=500

Data, features, augmentation, training and objective must be the same; strategies, seeds and block sets may differ, and the
first run's configuration is the new one's. Trials without a result are left out. The runs themselves are not changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from hpcnas.analysis import command
from hpcnas.analysis.merging import merge
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new run's directory, which must not exist")
    command.run(parser.parse_args(argv), merged)


def merged(arguments: argparse.Namespace) -> Iterator[Listing]:
    rows = [astuple(row) for row in merge([ConfiguredRun.open(path) for path in arguments.runs], arguments.out)]
    note = f"{sum(row[1] for row in rows)} trials in {arguments.out}; a larger search.max_trials goes on with them"
    yield Listing("merged", ("run", "trials", "first number", "left out", "weights"), rows, note=note)


if __name__ == "__main__":
    main()
