"""For benchmarks that start programs, under mpirun or not, and hear from each process what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MPIRUN = Path(__file__).parent.parent / "tools" / "mpirun.sh"
_MARK = "FIGURE "


class ProgramFailed(Exception):
    """With the end of what it had to say."""


def tell(figure: Any) -> None:
    """Print a figure for ``hear``; each rank for itself, since others may have left."""
    print(_MARK + json.dumps(figure), flush=True)


def hear(command: Sequence[str | Path], **options: Any) -> list[Any]:
    """What the processes of ``command``, with one thread each, told; raises ProgramFailed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)
    except subprocess.TimeoutExpired as late:
        raise ProgramFailed(f"not done after {late.timeout:.0f} s") from late
    figures = [json.loads(line.removeprefix(_MARK)) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not figures:
        raise ProgramFailed(done.stderr.strip()[-2000:] or f"status {done.returncode}, and not a word")
    return figures


def on_ranks(ranks: int, script: str | Path, *arguments: str | Path) -> list[str | Path]:
    """The command that starts a Python script under mpirun."""
    return [MPIRUN, "-np", str(ranks), sys.executable, script, *arguments]
