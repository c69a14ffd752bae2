"""What a run was made with: versions, MPI, host."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mpi4py import MPI

import hpcnas
from hpcnas.store.files import replacing

PACKAGES = ("torch", "horovod", "mpi4py", "h5py", "numpy", "kaldi-native-fbank", "espeakng-loader")


def record_environment(path: Path) -> None:
    """Write it as JSON."""
    versions = {"hpcnas": hpcnas.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    facts = {
        "versions": versions,
        "mpi": MPI.Get_library_version().split("\0")[0].splitlines()[0],
        "host": platform.node(),
        "platform": platform.platform(),
    }
    with replacing(path) as part:
        part.write_text(json.dumps(facts, indent=2) + "\n")
