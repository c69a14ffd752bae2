#!/usr/bin/env python
"""Free space: which weights of a search can go, and with --yes remove them. Without it nothing is changed.

    tools/prune.py runs/default
    tools/prune.py runs/default --keep 10
    tools/prune.py runs/* --keep 10 --yes

The best --keep trials stay, the Pareto front, the ensemble's members, and all that a search that is not complete needs. What
goes is written to pruned.txt; journal and archive keep every result, but these trials can be neither parents nor used any more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from hpcnas.analysis import command
from hpcnas.analysis.printing import Listing, size
from hpcnas.analysis.pruning import plan, prune
from hpcnas.analysis.trials import Run
from hpcnas.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--keep", type=int, default=20, help="so many of the best stay (default: 20)")
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    command.run(parser.parse_args(argv), pruned)


def pruned(arguments: argparse.Namespace) -> Iterator[Listing]:
    if arguments.keep < 1:
        raise command.usage(f"--keep {arguments.keep}: must be at least 1")
    rows = []
    for run in map(Run.open, arguments.runs):
        for one in plan(run, arguments.keep):
            what = f"stays: {one.reason}" if one.reason else "removed" if arguments.yes else "goes"
            rows.append((run.name, one.trial, one.score, one.size, what))
        if arguments.yes:
            prune(run, arguments.keep)
    going = [row for row in rows if not row[-1].startswith("stays")]
    freed = f"{len(going)} of {len(rows)} files, {size(sum(row[3] for row in going))}"
    note = f"removed: {freed}" if arguments.yes else f"would be removed with --yes: {freed}"
    yield Listing("weights", ("run", "trial", "score", "bytes", "what"), rows, note=note)


if __name__ == "__main__":
    main()
