"""What needs no fault tolerance runs under another MPI too: PyPI's MPICH, in an environment of its own on top of this one."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.core.archive import Archive
from hpcnas.store.journal import replay

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def mpich(tmp_path_factory) -> Callable[..., tuple[int, str]]:
    """Run ``python -m ...`` on so many ranks of MPICH: status and output."""
    place = tmp_path_factory.mktemp("mpich")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    (packages / "this.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
    python = str(place / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--retries=1", "mpich>=4.1,<6"]
    got = subprocess.run(pip, stderr=subprocess.DEVNULL)
    if got.returncode:
        pytest.skip("PyPI's mpich cannot be installed here")
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}

    def run(ranks: int, *arguments: str) -> tuple[int, str]:
        launcher = [str(ROOT / "tools" / "mpirun.sh"), "-np", str(ranks)]
        done = subprocess.run(
            ["timeout", "-k", "5", "240", *launcher, python, *arguments], env=environment, text=True, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    version = run(1, "-c", "from mpi4py import MPI; print(MPI.Get_library_version())")[1]
    if "MPICH" not in version:
        pytest.skip(f"mpi4py was built for one MPI alone: {version.strip()}")
    return run


def test_a_search_of_groups_and_its_ensemble_run_under_mpich_and_go_on_under_this_mpi(mpich, mpirun, tiny, tmp_path):
    run = tmp_path / "run"
    groups = ["--set", "search.group_size=2", "--set", "cluster.engine=ddp"]
    alone = ["--set", "search.group_size=1"]
    status, output = mpich(3, "-m", "hpcnas.search", *tiny, *groups, "--run", str(run))
    assert status == 0 and "1 group(s) of 2" in output and "4/4 trials" in output, output
    done = mpirun(1, "hpcnas.search", "--run", str(run), "--resume", "--set", "search.max_trials=6", *alone)
    assert done.returncode == 0, done.output
    assert len(Archive(record.event for record in replay(run / "journal.jsonl")).results) == 6
    status, output = mpich(2, "-m", "hpcnas.ensemble", str(run), *alone)
    assert status == 0 and "ensemble of 2" in output, output


def test_what_is_wrong_ends_all_ranks_of_mpich_with_one_line(mpich, tiny, tmp_path):
    status, output = mpich(2, "-m", "hpcnas.search", *tiny, "--set", "training.epochs=0", "--run", str(tmp_path / "run"))
    assert status == 2 and output.count("training.epochs = 0: must be at least 1") == 1, output
