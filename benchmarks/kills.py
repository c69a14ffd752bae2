"""Kill a whole search with SIGKILL at random moments, resume it each time, and count what was lost.

    tools/with_env.sh .venv python benchmarks/kills.py [--kills 20] [--ranks 3]

Prints completed trials lost (results that were in the journal before a kill and are not, or differ, afterwards), files that
could not be read after a kill, and how the last resume ended.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

from hpcnas.core.errors import HpcnasError
from hpcnas.core.trial import Result
from hpcnas.store.journal import replay

SEARCH = [
    *("--set", 'space.blocks=["dense", "tdnn", "svdf:filters=64"]'),
    *("--set", "training.epochs=1", "--set", "search.max_trials=150"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        lost = unreadable = 0
        for kill in range(arguments.kills):
            ranks = rng.choice([1, 2, arguments.ranks])
            known = results(run)
            process = start(run, ranks)
            wait_for_more(process, run, len(known))
            time.sleep(rng.uniform(0, 3))
            before = results(run)
            kill_everything(process, run)
            try:
                after = results(run)
                check_files(run)
            except (HpcnasError, OSError) as error:
                unreadable += 1
                print(error)
                continue
            missing = sum(repr(after.get(i)) != repr(r) for i, r in before.items())  # NaN equals nothing
            lost += missing
            print(f"kill {kill + 1}: {ranks} rank(s), {len(after)} results, {missing} lost", flush=True)
        process = start(run, arguments.ranks)
        output, _ = process.communicate()
        print(output.strip().splitlines()[-1])
        final = results(run)
        print(
            f"{arguments.kills} kills: {lost} completed trials lost, {unreadable} unreadable; last resume: status "
            f"{process.returncode}, {len(final)} results, {sum(not r.state.has_score for r in final.values())} of them failed"
        )


def start(run: Path, ranks: int) -> subprocess.Popen:
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
    command = [*launcher, sys.executable, "-m", "hpcnas.search", "--run", str(run), "--resume", *SEARCH]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def results(run: Path) -> dict[int, Result]:
    return {r.event.trial: r.event for r in replay(run / "journal.jsonl") if isinstance(r.event, Result)}


def wait_for_more(process: subprocess.Popen, run: Path, known: int) -> None:
    while len(results(run)) <= known:
        if process.poll() is not None:
            sys.exit(f"the search ended by itself:\n{process.communicate()[0]}")
        time.sleep(0.05)


def kill_everything(process: subprocess.Popen, run: Path) -> None:
    """SIGKILL to mpirun and all ranks, which are those with the run on their command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = int(folder.name) != os.getpid() and str(run).encode() in (folder / "cmdline").read_bytes()
            if is_ours:
                os.kill(int(folder.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
    process.communicate()


def check_files(run: Path) -> None:
    """Open every HDF5 file that has its final name; raises OSError for a damaged one."""
    for path in run.rglob("*.h5"):
        with h5py.File(path, "r", locking=False) as file:
            file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)


if __name__ == "__main__":
    main()
