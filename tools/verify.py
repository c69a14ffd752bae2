#!/usr/bin/env python
"""Whether every file of a run is intact: what is damaged, what is lost, and what can be rebuilt.

    tools/verify.py runs/default
    tools/verify.py runs/* --json
    tools/verify.py runs/default --repair

Checks the journal's lines, weights and ensembles by their checksums, archive.h5 against the journal, weights against the trials
they belong to, the ensemble against its members. --repair writes archive.h5 anew, the one file that is derived from others;
nothing else is ever changed. Status 0: sound; 1: damage was found; 2: bad input. A search may be writing the run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from hpcnas.analysis import command
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.soundness import Finding, repair, verify
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.showing.terminal import outer_edge


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--repair", action="store_true", help="write archive.h5 anew where it is damaged or old")
    arguments = parser.parse_args(argv)
    findings: list[Finding] = []
    command.run(arguments, lambda a: listing(a, findings))
    if any(finding.is_damage for finding in findings):
        sys.exit(1)


def listing(arguments: argparse.Namespace, findings: list[Finding]) -> Iterator[Listing]:
    rows, notes = [], []
    for run in map(ConfiguredRun.open, arguments.runs):
        found = verify(run)
        if arguments.repair and any(finding.file == run.dir.archive for finding in found):
            notes.append(f"{run.name}: wrote {repair(run)} anew")
            found = verify(run)
        findings += found
        damaged = sum(finding.is_damage for finding in found)
        notes.append(f"{run.name}: {damaged} damaged or lost, {len(found) - damaged} notes" if found else f"{run.name}: sound")
        for one in found:
            file = one.file.relative_to(run.dir.root)
            rows.append((run.name, str(file), "damage" if one.is_damage else "note", one.what, one.way_out))
    yield Listing("findings", ("run", "file", "grade", "what", "way out"), rows, note="\n".join(notes))


if __name__ == "__main__":
    main()
