#!/usr/bin/env python
"""Free space: which weights and checkpoints of a search can go, and with --yes remove them. Without it nothing is changed.

    tools/prune.py runs/default
    tools/prune.py runs/default --keep 10
    tools/prune.py runs/* --keep 10 --yes

Weights of the best --keep trials stay, of the Pareto front and of the ensemble's members, and all that a search that is not
complete needs, checkpoints among it. Trials whose weights go are written to pruned.txt; journal and archive keep every result,
but these trials can be neither parents nor used any more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from hpcnas.analysis import command
from hpcnas.analysis.printing import Listing, size
from hpcnas.analysis.pruning import plan, prune
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--keep", type=int, default=20, help="so many of the best stay (default: 20)")
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    command.run(parser.parse_args(argv), pruned)


def pruned(arguments: argparse.Namespace) -> Iterator[Listing]:
    if arguments.keep < 1:
        raise command.usage(f"--keep {arguments.keep}: must be at least 1")
    rows: dict[str, list[tuple]] = {"weights": [], "checkpoint": []}
    freed, going, files = 0, 0, 0
    for run in map(ConfiguredRun.open, arguments.runs):
        for one in plan(run, arguments.keep):
            what = f"stays: {one.reason}" if one.reason else "removed" if arguments.yes else "goes"
            rows[one.what].append((run.name, one.trial, one.score, one.size, what))
            files += 1
            if not one.reason:
                going, freed = going + 1, freed + one.size
        if arguments.yes:
            prune(run, arguments.keep)
    note = f"{'removed' if arguments.yes else 'would be removed with --yes'}: {going} of {files} files, {size(freed)}"
    columns = ("run", "trial", "score", "bytes", "what")
    if rows["checkpoint"]:
        yield Listing("weights", columns, rows["weights"])
        yield Listing("checkpoints", columns, rows["checkpoint"], note=note)
    else:
        yield Listing("weights", columns, rows["weights"], note=note)


if __name__ == "__main__":
    main()
