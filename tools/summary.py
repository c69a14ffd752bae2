#!/usr/bin/env python
"""What is in a run: trials by state, the best one, the Pareto front of score and size, time and steps spent, how busy the
groups were, how much was inherited.

    tools/summary.py runs/default
    tools/summary.py runs/seed-* --csv > runs.csv
    tools/summary.py runs/default --json | python -m json.tool

Reads archive.h5 where it is up to date, else journal.jsonl. Changes nothing; a search may be writing the run meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcnas.analysis import command, summary
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = command.parser(__doc__).parse_args(argv)
    command.run(arguments, lambda a: summary.listings([summary.summarise(ConfiguredRun.open(path)) for path in a.runs]))


if __name__ == "__main__":
    main()
