#!/usr/bin/env python
"""A search while it runs: groups, running trials, curves of the newest results, the best one, pace and estimated end.

    tools/watch.py runs/default
    tools/watch.py runs/seed-* --every 10
    tools/watch.py runs/default --once --json

Looks at journal.jsonl every few seconds and reads what has been added, a few kilobytes, and at running.json, which has how far
the running trials have come; the search itself does not notice. Ends when all runs are complete, or by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hpcnas.analysis import command
from hpcnas.analysis.live import Now, Watcher
from hpcnas.analysis.printing import Listing, duration, show, table_of
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.units import thousands
from hpcnas.showing.terminal import console, outer_edge, seconds

RESULTS = 8
"""Newest results that are shown."""
FIGURES = (
    "run", "is_complete", "elapsed_s", "quiet_s", "trials", "of_trials", "steps", "per_minute", "end_in_s", "limit",
    "best trial", "best score", "best architecture",
)  # fmt: skip


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--every", type=seconds, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    parser.add_argument("--once", action="store_true", help="look once and end")
    watch(parser.parse_args(argv))


def watch(arguments: argparse.Namespace) -> None:
    """Look and show until all runs are complete."""
    watchers = [Watcher(ConfiguredRun.open(path)) for path in arguments.runs]
    is_for_people = arguments.style == "table"
    with Live(console=console(), auto_refresh=False, vertical_overflow="crop") if is_for_people else nullcontext() as live:
        while True:
            looks = [(watcher, watcher.look()) for watcher in watchers]
            if live is not None:
                live.update(Group(*(part for look in looks for part in view(*look))), refresh=True)
            else:
                show(listings(looks), arguments.style)
                sys.stdout.flush()
            if arguments.once or all(now.is_complete for _, now in looks):
                return
            time.sleep(arguments.every)


def listings(looks: Sequence[tuple[Watcher, Now]]) -> list[Listing]:
    """All that is known, for programs."""
    runs, running, groups = [], [], []
    for watcher, now in looks:
        name = watcher.run.name
        best = (now.best[0].id, now.best[1].score, str(now.best[0].architecture)) if now.best else (None, None, None)
        runs.append((name, *(getattr(now, figure) for figure in FIGURES[1:10]), *best))
        for r in now.running:
            trial = r.trial
            parent = trial.proposal.parent, r.parent_score
            running.append((name, trial.id, r.age_s, len(r.curve), r.curve, *parent, str(trial.architecture)))
        groups += [(name, g.group, g.trials, g.trained_s, g.quiet_s, g.last.trial, g.last.score) for g in now.groups]
    return [
        Listing("runs", FIGURES, runs),
        Listing("running", ("run", "trial", "age_s", "epochs", "curve", "parent", "parent's score", "architecture"), running),
        Listing("groups", ("run", "group", "trials", "trained_s", "quiet_s", "last", "score"), groups),
    ]


def view(watcher: Watcher, now: Now) -> Iterator[Text | Table]:
    """For people: a headline and three tables."""
    yield Text(headline(watcher, now), style="bold")
    quiet = f"last event {duration(now.quiet_s)} ago"
    groups = [(g.group, g.trials, g.trained_s / now.elapsed_s, g.quiet_s, g.last.trial, g.last.score) for g in now.groups]
    yield table_of(Listing("groups", ("group", "results", "busy share", "quiet_s", "last trial", "score"), groups, note=quiet))
    rows = [
        (r.trial.id, r.age_s, r.curve, p.mutation, p.parent, r.parent_score, str(r.trial.architecture))
        for r in now.running
        for p in [r.trial.proposal]
    ]
    yield table_of(
        Listing("running", ("trial", "age_s", "curve", "mutation", "parent", "parent's score", "architecture"), rows)
    )
    newest = [(r.trial, r.state.value, r.score, r.curve, r.cost.params, r.seconds, r.group) for _, r in now.recent[:RESULTS]]
    yield table_of(Listing("newest results", ("trial", "state", "score", "curve", "params", "seconds", "group"), newest))


def headline(watcher: Watcher, now: Now) -> str:
    """Such as ``kws: 117 of 300 trials, 1.2M steps in 3.4 h, best 0.9431 (trial 93), 0.6 results a minute, 5.1 h left``."""
    parts = [f"{now.trials} of {now.of_trials} trials", f"{thousands(now.steps)} steps in {duration(now.elapsed_s)}"]
    if now.best:
        parts.append(f"best {watcher.run.objective} {now.best[1].score:.4f} (trial {now.best[0].id})")
    if now.is_complete:
        return f"{watcher.run.name}: {', '.join(parts)}, complete"
    if now.per_minute == now.per_minute:
        parts.append(f"{now.per_minute:.3g} results a minute")
    if now.end_in_s == now.end_in_s:
        parts.append(f"{duration(now.end_in_s)} left until {now.limit}")
    return f"{watcher.run.name}: {', '.join(parts)}"


if __name__ == "__main__":
    main()
