#!/usr/bin/env python
"""The best trials of one or several runs, sorted and filtered by any column of archive.h5.

    tools/top.py runs/default
    tools/top.py runs/default -k 5 --where "params<100k and depth<=4"
    tools/top.py runs/seed-* --sort=-seconds --columns id,seconds,params,state --where "state=failed or state=stopped"
    tools/top.py runs/default --where "architecture~svdf and not error~budget" --csv

Filters compare a column with a value: < <= > >= = != for figures (100k, 2.5M, 90% are understood), = != ~ !~ for texts (~:
contains), joined by and, or, not and brackets. Changes nothing; a search may be writing the run meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from hpcnas.analysis import command, ranked
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.analysis.where import column_of
from hpcnas.showing.terminal import outer_edge
from hpcnas.store.archive_file import COLUMNS

SHOWN = "id,merit,score,loss,params,macs,depth,inherited,parent,mutation,state,architecture"


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("-k", type=int, default=10, help="how many (default: 10); 0: all")
    parser.add_argument(
        "--sort", default="merit", metavar="COLUMN",
        help="merit: as the search ranks them (default); else the smallest first, or with = and - the largest: --sort=-params",
    )  # fmt: skip
    parser.add_argument("--where", default="", metavar="FILTER", help='such as "params<100k and state=completed"')
    parser.add_argument("--columns", type=command.names, default=SHOWN, help=f"of {', '.join(COLUMNS)}")
    command.run(parser.parse_args(argv), top)


def top(arguments: argparse.Namespace) -> Iterator[Listing]:
    runs = [ConfiguredRun.open(path) for path in arguments.runs]
    columns = ranked.together(runs, [run.columns() for run in runs])
    rows = ranked.best(columns, arguments.sort, arguments.where, arguments.k or None)
    names = (*(["run"] if len(runs) > 1 else []), *arguments.columns)
    yield Listing("trials", names, list(zip(*(column_of(columns, name)[rows] for name in names))))


if __name__ == "__main__":
    main()
