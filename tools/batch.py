#!/usr/bin/env python3
"""Run a program of hpcnas as a batch job that goes on by itself until its run is complete.

    tools/batch.py hpcnas.search CONFIG.toml --run RUN --resume        inside a job; jobs/search.slurm shows it in use
    tools/batch.py --then jobs/ensemble.slurm hpcnas.search ...        and submits another job when the run is complete

Starts the ranks by mpirun or srun, passes the batch system's warning on to them, and decides by the run's completion marker
(an mpirun that lost a node may end with 0) what comes next: done, requeued, or given up, which is when the input is at fault or
three jobs in a row have brought nothing new. Needs no package: it starts before the environment is known to be sound.

HPCNAS_LAUNCHER   mpirun or srun; without it mpirun if that is Open MPI 5, which survives lost ranks, else srun under Slurm;
                  always srun in a heterogeneous job, of which mpirun sees the first part alone
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

EXIT_SUSPENDED = 75
FINAL = {2: "the input is at fault", 3: "most trials failed, see the message above"}
"""Exit statuses with which it would not go better another time."""
FRUITLESS_JOBS = 3
"""So many in a row without a new result or checkpoint, and the job is not requeued again."""
MARKERS = {
    "hpcnas.search": "complete",
    "hpcnas.ensemble": "ensemble/complete",
    "hpcnas.distil": "student/complete",
    "hpcnas.compare": "compare/complete",
    "hpcnas.adapt": "ensemble/complete",
}
"""Which file in the run directory says that a program is done."""
PMIX_OF_THE_MPI = ("-u", "PMIX_GDS_MODULE", "-u", "PMIX_SECURITY_MODE", "PMIX_MCA_gds=hash")
"""For ``env``. Slurm's PMIx and the MPI's are seldom of one age: shared memory of the one means nothing to the other, and ways
to prove who it is that the other lacks make it complain on every rank."""
_RESULT = re.compile(rb'"event": ?"result"')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--then", metavar="JOB", type=Path, help="job script to submit when the run is complete; gets RUN")
    parser.add_argument("--report", action="store_true", help="write the report when the run is complete")
    parser.add_argument("program", choices=MARKERS, help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments, the run directory among them")
    given = parser.parse_args()
    run = run_directory(given.program, given.arguments)
    before = progress(run)
    command = [sys.executable, "-m", given.program, *given.arguments]
    status, is_cancelled = supervise(on_all_ranks(command, os.environ), environment_of_ranks(os.environ))
    if (run / MARKERS[given.program]).exists():
        say(f"{given.program} is complete")
        if given.then:
            submit(given.then, run)
        return subprocess.run([sys.executable, "-m", "hpcnas.report", str(run)]).returncode if given.report else 0
    if status in FINAL:
        say(f"{FINAL[status]}; the job is not requeued")
        return status
    if is_cancelled:  # by the user; a preempted job is requeued by Slurm itself
        return status or EXIT_SUSPENDED
    fruitless = 0 if progress(run) != before else fruitless_jobs(run) + 1
    try:
        if run.exists():
            (run / "batch.json").write_text(json.dumps({"fruitless_jobs": fruitless}))
    except OSError as error:  # uncounted, fruitless jobs would follow one another for ever
        say(f"{error}; the job is not requeued")
        return status or 1
    if fruitless >= FRUITLESS_JOBS:
        say(f"{fruitless} jobs in a row brought nothing new; status {status}, see the messages above")
        return status or 1
    return requeue(status)


def run_directory(program: str, arguments: Sequence[str]) -> Path:
    """Where the program keeps its run: ``--run``, or for later stages the first argument."""
    if "--run" in arguments:
        return Path(arguments[arguments.index("--run") + 1])
    if program in ("hpcnas.search", "hpcnas.compare", "hpcnas.adapt") or not arguments:
        refuse("give hpcnas.search, hpcnas.compare and hpcnas.adapt --run DIR, and other programs the run directory first")
    return Path(arguments[0])


def on_all_ranks(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command line that starts the command on the ranks of this job; ends the program for a launcher that cannot."""
    parts = int(environment.get("SLURM_HET_SIZE") or 1)
    by_srun = parts > 1 or (not has_open_mpi_5() and shutil.which("srun") is not None)
    choice = environment.get("HPCNAS_LAUNCHER") or ("srun" if by_srun else "mpirun")
    if choice not in ("mpirun", "srun"):
        refuse(f"HPCNAS_LAUNCHER = {choice!r}: unknown; known: mpirun, srun")
    if choice == "mpirun":
        if parts > 1:
            refuse("HPCNAS_LAUNCHER = 'mpirun': starts ranks on the first part of a heterogeneous job alone; use srun")
        ranks = environment.get("SLURM_NTASKS") or environment.get("PBS_NP") or environment.get("LSB_DJOB_NUMPROC")
        return [str(Path(__file__).with_name("mpirun.sh")), *(["-np", ranks] if ranks else []), *command]
    line = ["srun"]
    for part in range(parts):
        group = f"_HET_GROUP_{part}" if parts > 1 else ""
        # Since Slurm 22.05 srun does not inherit --cpus-per-task. A rank that fails must not leave the others waiting.
        cpus = environment.get("SRUN_CPUS_PER_TASK") or environment.get(f"SLURM_CPUS_PER_TASK{group}")
        line += [
            *([":"] if part else []),
            f"--mpi={environment.get('HPCNAS_SRUN_MPI', 'pmix')}",
            *([f"--het-group={part}"] if group else []),
            *([f"--cpus-per-task={cpus}"] if cpus else []),
            "--kill-on-bad-exit=1",
            *("env", *PMIX_OF_THE_MPI, "OMPI_MCA_mpi_yield_when_idle=1"),  # waiting for a mate: as in mpirun.sh
            *command,
        ]
    return line


def environment_of_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """This job's; of one submitted with ``--export=NONE`` too, whose ranks srun would start with no ``PATH``."""
    return {key: value for key, value in environment.items() if key != "SLURM_EXPORT_ENV"}


def has_open_mpi_5() -> bool:
    if not shutil.which("mpirun"):
        return False
    told = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, errors="replace").stdout
    version = re.search(r"\(Open MPI\) v?(\d+)", told)
    return version is not None and int(version[1]) >= 5


def supervise(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bool]:
    """Run the command, passing on the signals by which a batch system announces the end; its exit status, and whether the end
    was asked for."""
    say(" ".join(command))
    process = subprocess.Popen(command, env=environment)
    heard = []

    def warn(number: int, frame: object) -> None:
        heard.append(number)
        say(f"{signal.Signals(number).name}: the job is about to end")
        # The programs know USR2 from the batch system; mpirun and srun pass it on to all ranks.
        process.send_signal(signal.SIGUSR2)

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, warn)
    status = process.wait()
    say(f"status {status}")
    is_cancelled = signal.SIGTERM in heard or signal.SIGINT in heard
    return (status if status >= 0 else 128 - status), is_cancelled


def progress(run: Path) -> tuple[int, int]:
    """What changes with every result and every checkpoint of the run."""
    results = sum(len(_RESULT.findall(journal.read_bytes())) for journal in run.glob("**/journal.jsonl"))
    return results, max((path.stat().st_mtime_ns for path in run.glob("**/checkpoints/*.pt")), default=0)


def fruitless_jobs(run: Path) -> int:
    path = run / "batch.json"
    try:
        return int(json.loads(path.read_text())["fruitless_jobs"])
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or a job was killed while it wrote it
        return 0


def submit(job: Path, run: Path) -> None:
    """Submit the next job of the chain, to begin when this one has ended well."""
    own = os.environ.get("SLURM_JOB_ID")
    # Only what the user set: this job's own SLURM_ variables are not that one's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")} | {"RUN": str(run)}
    depends = [f"--dependency=afterok:{own}"] if own else []
    done = subprocess.run(["sbatch", *depends, str(job)], env=environment, capture_output=True, text=True)
    say(f"{job}: {(done.stdout or done.stderr).strip()}")
    if done.returncode:
        sys.exit(done.returncode)


def requeue(status: int) -> int:
    """Put this job back into Slurm's queue under its number; elsewhere leave with the status that asks for it."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return status or EXIT_SUSPENDED
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # being requeued, the job is sent TERM
    say("requeued, to go on where it is")
    if subprocess.run(["scontrol", "requeue", job]).returncode:
        return status or EXIT_SUSPENDED
    time.sleep(120)  # until Slurm ends this job
    return EXIT_SUSPENDED


def refuse(text: str) -> NoReturn:
    print(f"batch.py: {text}", file=sys.stderr)
    sys.exit(2)  # bad input


def say(text: str) -> None:
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} batch: {text}\n"
    # A full disk behind the output must not keep the job from being requeued, nor change its status by what Python buffered.
    with suppress(OSError):
        os.write(1, line.encode(errors="backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
