#!/usr/bin/env python
"""Runs against each other: the best score so far where all have spent as much, how sure the differences are, and what each
needed to come to a score.

    tools/compare.py runs/random-* runs/incremental-*
    tools/compare.py runs/* --against time --by strategy.name,inheritance.name
    tools/compare.py runs/* --target 0.95 --json
    tools/compare.py runs/* --curves --csv > curves.csv

Runs that differ by seed alone form a group; --by names the keys of config.toml to group by instead. The p-values are of a
permutation test of the groups' means; with n and m runs none can be smaller than 2 n! m! / (n + m)! (3 and 3: 0.1). Reads
journal.jsonl. A line says in what the runs differ that is in no configuration: machine, versions, ranks, recordings. Changes
nothing; searches may be writing the runs meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple

from hpcnas.analysis import circumstances, command, comparison
from hpcnas.analysis.comparison import AXES, STANDING
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--against", choices=tuple(AXES), default="steps", help="what is spent (default: steps)")
    parser.add_argument("--at", type=float, metavar="X", help="compare there (default: where the first run ends)")
    parser.add_argument("--by", type=command.names, default=(), metavar="KEYS", help="group by these keys of config.toml")
    parser.add_argument("--target", type=float, metavar="SCORE", help="count until then (default: the worst group's mean)")
    parser.add_argument("--curves", action="store_true", help="best so far over what is spent, with the runs' range")
    command.run(parser.parse_args(argv), compare)


def compare(arguments: argparse.Namespace) -> Iterator[Listing]:
    axis = arguments.against
    runs = [ConfiguredRun.open(path) for path in arguments.runs]
    compared = comparison.courses(runs, arguments.by)
    differs = circumstances.difference(runs)
    if differs and arguments.style != "table":
        print(f"note: {differs}", file=sys.stderr)
    if arguments.curves:
        yield Listing("curves", ("group", axis, "mean", "lowest", "highest"), comparison.bands(compared, axis), note=differs)
        return
    end = comparison.common_end(compared, axis) if arguments.at is None else arguments.at
    target = arguments.target
    if target is None:
        target = min(row.mean for row in comparison.standings(compared, axis, end, float("inf")))
    rows = [astuple(row) for row in comparison.standings(compared, axis, end, target)]
    note = f"at {end:g} {AXES[axis]}; until: {AXES[axis]} to a score of {target:.4f}, mean of the runs that reached it"
    yield Listing("groups", STANDING, rows, note=note)
    yield Listing("pairs", ("better", "worse", "difference", "p"), comparison.pairs(compared, axis, end))
    rows = [
        (c.run.name, c.group, c.run.config.get("seed"), c.end("trials"), c.end("steps"), c.end("time"),
         float(c.at(axis, end)), float(c.best[-1]), c.until(axis, target))
        for c in compared
    ]  # fmt: skip
    columns = ("run", "group", "seed", "trials", "steps", "elapsed_s", "score then", "score", "until")
    yield Listing("runs", columns, rows, note=differs)


if __name__ == "__main__":
    main()
