"""The coordinator at any scale: the real one, with a real journal, answering simulated groups.

    tools/with_env.sh .venv python benchmarks/scale.py [--groups 15 1000 10000] [--minutes 10] [--archive 100000]

A discrete-event simulation: trials take simulated time (log-normal, median ``--minutes``, a Progress after each of 8 epochs,
validation the last tenth of each, 50 ms to write weights), but what rank 0 does for each message is done, its journal synced as
in a search, and the time that takes counts as its being busy. A reply leaves when rank 0 has dealt with everything that came
before. Prints a Markdown table: busy share of the groups until the last trial is begun, messages a second that rank 0 could
answer, the longest wait for an answer, rank 0's memory.
"""

from __future__ import annotations

import argparse
import heapq
import math
import resource
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hpcnas import config as configuration
from hpcnas.core.archive import Archive
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Ahead, Assignment, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.trial import Cost, Result, Trial, TrialState
from hpcnas.nn.cost import CostTable
from hpcnas.store.journal import Journal

EPOCHS = 8
VALIDATION = 0.1
"""Share of an epoch."""
STORE_S = 0.05
BATCH = 256
"""Messages that rank 0 answers together, as runtime/server.py does."""
SETTLE_EVERY_S = 0.1
"""Between two syncs of the journal, likewise."""
LATENCY_S = 50e-6
"""Of a message between two nodes."""


@dataclass
class Training:
    """What a simulated group is doing."""

    assignment: Assignment
    epoch_s: float
    final: float
    """Score that it comes to."""
    curve: tuple[float, ...] = ()

    def train(self) -> None:
        done = len(self.curve) + 1
        self.curve = (*self.curve, self.final * (1 - math.exp(-done / 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[15, 1000, 10000])
    parser.add_argument("--minutes", type=float, default=10.0, help="median of a trial of all epochs")
    parser.add_argument("--trials", type=int, help="in all; default: ten a group, at most 30,000")
    parser.add_argument(
        "--archive", type=int, default=100_000, help="trials already in the archive for the last row; 0: no such row"
    )
    arguments = parser.parse_args()
    print("| groups | trials before | trials | messages | busy share | messages/s of rank 0 | longest wait | memory |")
    print("|---|---|---|---|---|---|---|---|")
    table = CostTable(configuration.Config().space.surroundings(40, 12), 98)
    for groups, before in [*((g, 0) for g in arguments.groups), *([(1000, arguments.archive)] if arguments.archive else [])]:
        trials = arguments.trials or min(10 * groups, 30_000)
        print(simulated(table, groups, before, trials, 60 * arguments.minutes), flush=True)


def simulated(table: CostTable, groups: int, before: int, trials: int, trial_s: float) -> str:
    """A row of the table."""
    config = configuration.Config()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        clock = [0.0]
        coordinator = Coordinator(
            strategy=config.strategy,
            space=config.space.build(),
            config=SearchConfig(max_trials=before + trials),
            seed=0,
            record=lambda event: journal.append(event, clock[0]),
            measure=lru_cache(maxsize=1024)(table.measure),
            budget=config.space.budget,
            inheritance=config.inheritance,
            stopping=config.stopping,
            archive=filled(config, table, before, rng),
            elapsed=lambda: clock[0],
        )
        running: dict[int, Training] = {}
        waiting: list[int] = []
        chosen: dict[int, tuple[float, Assignment]] = {}
        """Each group's next trial, if it has been chosen, and when it came."""
        arrivals = [(float(rng.uniform(0, 1)), group, Ready(group)) for group in range(groups)]
        heapq.heapify(arrivals)
        free_at = busy = spent = longest = settled = 0.0
        messages, share = 0, math.nan
        while arrivals:
            start = max(free_at, arrivals[0][0])
            heard = []
            while arrivals and len(heard) < BATCH and arrivals[0][0] <= start:
                heard.append(heapq.heappop(arrivals))
            clock[0] = start
            wall = time.perf_counter()
            answers = []
            for at, group, message in heard:
                if not (waiting and isinstance(message, Ahead)):
                    answers.append((at, group, message, coordinator.handle(message)))
            while waiting and not isinstance(answer := coordinator.handle(Ready(waiting[0])), Wait):
                group = waiting.pop(0)
                answers.append((start, group, Ready(group), answer))
            journal.commit()
            took = time.perf_counter() - wall
            answered = start + took
            if answered - settled > SETTLE_EVERY_S:
                settled = answered
                journal.sync()
                took = time.perf_counter() - wall
            messages, spent, free_at = messages + len(heard), spent + took, start + took
            if coordinator.ended and share != share:  # until the last trial is begun
                to_come = sum(max(0.0, at - free_at) for at, _, message in arrivals if not isinstance(message, Ahead))
                share = (busy - to_come) / (groups * free_at)
            for at, group, message, answer in answers:
                now = answered + LATENCY_S
                if isinstance(message, Ahead):
                    if answer is not None:
                        chosen[group] = now, answer
                    continue
                if answer is None:
                    came, answer = chosen.pop(group)
                    now = max(at, came)
                longest = max(longest, now - at)
                if isinstance(answer, Wait):
                    waiting.append(group)
                elif not isinstance(answer, Stop):
                    if isinstance(answer, Assignment):
                        curve = answer.paused.curve if answer.paused else ()
                        epoch_s = trial_s * float(rng.lognormal(0, 0.5)) / EPOCHS
                        running[group] = Training(answer, epoch_s, float(rng.beta(8, 2)), curve)
                    took, news = train(running, group, answer, now)
                    busy += took
                    for one in news:
                        heapq.heappush(arrivals, one)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return (
            f"| {groups} | {before} | {trials} | {messages} | {share:.2%} | {messages / spent:.0f} | "
            f"{1000 * longest:.0f} ms | {memory:.0f} MiB |"
        )


def train(
    running: dict[int, Training], group: int, answer: Assignment | Verdict, now: float
) -> tuple[float, list[tuple[float, int, object]]]:
    """How long the group is busy; and when it says what."""
    trial = running[group]
    if answer is Verdict.PAUSE or answer is Verdict.STOP:
        state, took, notice = TrialState.PAUSED if answer is Verdict.PAUSE else TrialState.STOPPED, STORE_S, STORE_S
    else:
        trial.train()
        if len(trial.curve) < EPOCHS:
            then = now + trial.epoch_s + LATENCY_S
            return trial.epoch_s, [(then, group, Progress(trial.assignment.trial.id, trial.curve))]
        state, took, notice = TrialState.COMPLETED, trial.epoch_s + STORE_S, VALIDATION * trial.epoch_s + STORE_S
    then = now + took + LATENCY_S
    return took, [(then - notice, group, Ahead(group)), (then, group, Ready(group, result(trial, state, group)))]


def result(trial: Training, state: TrialState, group: int) -> Result:
    epochs = len(trial.curve)
    return Result(
        trial.assignment.trial.id, state, trial.curve[-1], 1 - trial.curve[-1], Cost(50_000, 10**6, 10**4), epochs,
        100 * epochs, 0, trial.epoch_s * epochs, group, trial.curve,
    )  # fmt: skip


def filled(config: configuration.Config, table: CostTable, trials: int, rng: np.random.Generator) -> Archive:
    """An archive of so many made-up trials."""
    archive, space = Archive(), config.space.build()
    for id_ in range(trials):
        proposal = config.strategy.propose(Archive(), space, rng)
        archive.add(Trial(id_, proposal, id_))
        trial = Training(Assignment(archive.trials[id_]), 1.0, float(rng.beta(8, 2)))
        for _ in range(EPOCHS):
            trial.train()
        archive.add(result(trial, TrialState.COMPLETED, 0))
    return archive


if __name__ == "__main__":
    main()
