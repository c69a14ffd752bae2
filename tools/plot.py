#!/usr/bin/env python
"""All pictures of one or several runs, ready for a paper: progress, size against score, lineage, block effects, ensemble,
confusions, and for several runs the best score so far over steps, time and trials.

    tools/plot.py runs/default --out figures
    tools/plot.py runs/default --out figures --format pdf,png --only progress,lineage
    tools/plot.py runs/random-* runs/incremental-* --out figures --format svg --only by_steps

Files are named <run>-<picture>.<format>, those of several runs together runs-<picture>. Reads journal.jsonl and the ensemble's
files; changes nothing in the runs; searches may be writing them meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hpcnas.analysis import command, comparison, gallery
from hpcnas.analysis.models import models
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.showing import pictures
from hpcnas.showing.terminal import outer_edge

FORMATS = ("pdf", "png", "svg")


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--format", type=command.names, default=("pdf",), help=f"of {', '.join(FORMATS)} (default: pdf)")
    parser.add_argument("--only", type=command.names, default=(), metavar="PICTURES", help="their names; default: all")
    parser.add_argument("--dpi", type=int, default=300, help="of PNG (default: 300)")
    command.run(parser.parse_args(argv), plot)


def plot(arguments: argparse.Namespace) -> Iterator[Listing]:
    if unknown := [name for name in arguments.format if name not in FORMATS]:
        raise command.usage(f"--format {unknown[0]}: unknown; known: {', '.join(FORMATS)}")
    rows: list[tuple] = []
    seen: set[str] = set()
    boxes: set[str] = set()
    for prefix, name, draw in pictures_of([ConfiguredRun.open(path) for path in arguments.runs]):
        seen.add(name)
        if arguments.only and name not in arguments.only:
            continue
        figure = draw()
        arguments.out.mkdir(parents=True, exist_ok=True)
        for ending in arguments.format:
            path = arguments.out / f"{prefix}-{name}.{ending}"
            boxes.update(pictures.save(figure, path, arguments.dpi))
            rows.append((name, str(path), path.stat().st_size))
    if missing := [name for name in arguments.only if name not in seen]:
        raise command.usage(f"--only {missing[0]}: no such picture of these runs; there are {', '.join(sorted(seen))}")
    note = f"no font here has {''.join(sorted(boxes))}: install one, such as Noto Sans, or take --format svg" if boxes else ""
    yield Listing("pictures", ("picture", "file", "bytes"), rows, note=note)


def pictures_of(runs: Sequence[ConfiguredRun]) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Beginning of the file's name, name of the picture, and what draws it."""
    for run in runs:
        records = run.records()
        search = gallery.of_search(run, Archive(record.event for record in records), records)
        for name, draw in {**search, **gallery.of_models(*models(run.dir))}.items():
            yield run.name, name, draw
    if len(runs) > 1:
        for name, draw in gallery.of_several(comparison.courses(runs)).items():
            yield "runs", name, draw


if __name__ == "__main__":
    main()
