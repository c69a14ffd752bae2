"""What a run is made with: versions, MPI, machine, ranks. On it depends whether the same seed gives the same trials."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from mpi4py import MPI

import hpcnas
from hpcnas.runtime.roles import Roles
from hpcnas.store.files import replacing

PACKAGES = ("torch", "horovod", "mpi4py", "h5py", "numpy", "kaldi-native-fbank", "pymicro-features", "espeakng-loader")
EARLIER = "earlier"
"""Key of what earlier jobs of the run were made with, where that differs."""


def record_environment(path: Path, roles: Roles, engine: str) -> None:
    """Write it as JSON; what was there before is kept where it differs."""
    facts = facts_now(roles, engine)
    with suppress(OSError, ValueError, AttributeError):  # none yet, or one that cannot be read
        before = json.loads(path.read_text(encoding="utf-8"))
        earlier = [*before.pop(EARLIER, []), *([before] if before else [])]
        if kept := [one for number, one in enumerate(earlier) if one not in (facts, *earlier[:number])]:
            facts[EARLIER] = kept
    with replacing(path) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def facts_now(roles: Roles, engine: str) -> dict[str, Any]:
    """Of this process, which is rank 0; of its groups' engine only if they have several ranks."""
    versions = {"hpcnas": hpcnas.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "versions": versions,
        "mpi": MPI.Get_library_version().split("\0")[0].splitlines()[0],
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "kernels": kernels(),
        "threads": torch.get_num_threads(),
        "ranks": roles.ranks,
        "group_size": roles.group_size,
        **({"engine": engine} if roles.group_size > 1 else {}),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Such as ``AMD EPYC 7763 (family 25, model 1)``; the numbers since virtual machines tell little by name."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text().partition("\n\n")[0].splitlines()]
    except OSError:
        lines = []
    of = {key.strip(): value.strip() for key, _, value in lines}
    name = of.get("model name") or platform.processor() or platform.machine()
    numbers = ", ".join(f"{short} {of[key]}" for key, short in (("cpu family", "family"), ("model", "model")) if key in of)
    return f"{name} ({numbers})" if numbers else name


def kernels() -> str:
    """Which instructions torch computes with, and whose libraries: such as ``AVX2, MKL, oneDNN``."""
    libraries = {"MKL": torch.backends.mkl, "oneDNN": torch.backends.mkldnn}
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *(name for name, of in libraries.items() if of.is_available())])
