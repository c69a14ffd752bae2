"""Kill random ranks of running searches with SIGKILL, and see whether the others go on.

    tools/with_env.sh .venv python benchmarks/rank_kills.py [--runs 20] [--kills 5] [--ranks 10] [--set cluster.engine=ddp]

Needs a fault-tolerant MPI. Victims are any ranks but the first. Prints for each run its status, results, completed trials lost,
and how long after each kill the next result came, beside the longest pause between results without one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from hpcnas.core.trial import Result
from hpcnas.store.journal import replay

ROOT = Path(__file__).parent.parent
SEARCH = [
    *("--set", 'space.blocks=["dense", "tdnn"]', "--set", "stopping.name=none"),
    *("--set", "training.epochs=1", "--set", "cluster.hang_limit_s=60"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5, help="in each run")
    parser.add_argument("--ranks", type=int, default=10)
    parser.add_argument("--group-size", type=int, default=2)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="for the searches")
    arguments = parser.parse_args()
    rng = random.Random(0)
    waits, pauses, good, lost = [], [], 0, 0
    for number in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            status, after, missing, of_kills, of_others = one_run(Path(folder) / "run", arguments, rng)
        waits, pauses, lost = waits + of_kills, pauses + of_others, lost + missing
        good += status == 0 and after == arguments.trials
        print(
            f"run {number}: status {status}, {after} results, {missing} lost, next result {_seconds(of_kills)} after the kills",
            flush=True,
        )
    print(f"{len(waits)} kills in {arguments.runs} runs: {good} runs ended with status 0 and {arguments.trials} results")
    print(f"{lost} completed trials lost")
    for what, values in (("next result after a kill", waits), ("pause between results otherwise", pauses)):
        middle, most = np.quantile(values, [0.5, 0.95])
        print(f"{what}: median {middle:.2f} s, 95 % within {most:.2f} s, longest {max(values):.2f} s")


def one_run(run: Path, arguments: argparse.Namespace, rng: random.Random) -> tuple[int, int, int, list[float], list[float]]:
    """Status, results, completed trials lost, and seconds to the next result after each kill and otherwise."""
    sets = [part for value in arguments.set for part in ("--set", value)]
    command = [
        *(str(ROOT / "tools" / "mpirun.sh"), "-np", str(arguments.ranks), sys.executable, "-m", "hpcnas.search"),
        *("--run", str(run), "--set", f"search.max_trials={arguments.trials}"),
        *("--set", f"search.group_size={arguments.group_size}", *SEARCH, *sets),
    ]
    with open(run.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    journal = run / "journal.jsonl"
    arrivals: list[float] = []

    def watch() -> None:
        seen = 0
        while process.poll() is None:
            now = journal.read_bytes().count(b'"event":"result"') if journal.exists() else 0
            arrivals.extend([time.monotonic()] * (now - seen))
            seen = now
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    # Kills fall while trials are still to be done: evenly over the first half of them, at random moments.
    moments = sorted(rng.uniform(0.02, 0.6) * arguments.trials for _ in range(arguments.kills))
    kills, before = [], {}
    for moment in moments:
        while len(arrivals) < moment and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        victims = [pid for rank, pid in ranks_of(run).items() if rank]
        if len(victims) <= 1:
            break
        before.update(results(run))
        kills.append(time.monotonic())
        os.kill(rng.choice(victims), signal.SIGKILL)
    try:
        status = process.wait(600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        status = 124
    if status:
        print(run.with_suffix(".log").read_text()[-3000:])
    watcher.join()
    after = results(run)
    missing = [trial for trial, result in before.items() if repr(after.get(trial)) != repr(result)]  # NaN equals nothing
    for trial in missing:
        print(f"  trial {trial}: {before[trial]}, afterwards {after.get(trial)}")
    of_kills = [min((a - kill for a in arrivals if a > kill), default=float("nan")) for kill in kills]
    disturbed = {next((i for i, a in enumerate(arrivals) if a > kill), -1) for kill in kills}
    of_others = [b - a for i, (a, b) in enumerate(pairwise(arrivals), 1) if i not in disturbed]
    return status, len(after), len(missing), of_kills, of_others


def ranks_of(run: Path) -> dict[int, int]:
    """Process of every rank that lives."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(run).encode() in (folder / "cmdline").read_bytes():
                variables = dict(v.partition(b"=")[::2] for v in (folder / "environ").read_bytes().split(b"\0"))
                if (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z" and b"OMPI_COMM_WORLD_RANK" in variables:
                    found[int(variables[b"OMPI_COMM_WORLD_RANK"])] = int(folder.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def results(run: Path) -> dict[int, Result]:
    return {r.event.trial: r.event for r in replay(run / "journal.jsonl") if isinstance(r.event, Result)}


def _seconds(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) + " s"


if __name__ == "__main__":
    main()
