"""What the environment depends on: whatever changes how Horovod is built is noticed, kept, and built anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD, SET_UP, MPIRUN = (ROOT / "tools" / name for name in ("build_horovod.sh", "setup_env.sh", "mpirun.sh"))
SHELL_SCRIPTS = [*ROOT.glob("tools/*.sh"), *ROOT.glob("jobs/*.slurm"), *ROOT.glob(".ci/*"), *ROOT.glob("benchmarks/*.sh")]
CHANGES = {
    "HOROVOD_GPU_OPERATIONS": "NCCL",
    "HOROVOD_GPU_ALLREDUCE": "NCCL",
    "HOROVOD_GPU": "ROCM",
    "HOROVOD_CPU_OPERATIONS": "CCL",
    "HOROVOD_NCCL_HOME": "/opt/nccl",
    "HOROVOD_NCCL_LINK": "SHARED",
    "HOROVOD_CUDA_HOME": "/opt/cuda-12",
    "HOROVOD_ROCM_HOME": "/opt/rocm",
    "HOROVOD_BUILD_CUDA_CC_LIST": "80,90",
    "HOROVOD_BUILD_ARCH_FLAGS": "-march=native",
    "HOROVOD_ALLOW_MIXED_GPU_IMPL": "1",
    "HOROVOD_DEBUG": "1",
    "CUDA_HOME": "/opt/cuda-12",
    "CC": "gcc-13",
    "CXX": "g++-13",
    "CXXFLAGS": "-O2",
    "LDFLAGS": "-L/opt/lib",
    "CMAKE_PREFIX_PATH": "/opt/nccl",
    "TORCH_CUDA_ARCH_LIST": "9.0",
}
NO_CHANGES = {
    "HOROVOD_LOG_LEVEL": "info",
    "HOROVOD_FUSION_THRESHOLD": "0",
    "HOROVOD_STALL_CHECK_TIME_SECONDS": "5",
    "HOROVOD_TIMELINE": "/tmp/t",
    "MAKEFLAGS": "-j4",
    "CPATH": "/opt/include",
    "LIBRARY_PATH": "/opt/lib",
}


def clean() -> dict[str, str]:
    """This environment without what is tried here."""
    return {k: v for k, v in os.environ.items() if k not in {**CHANGES, **NO_CHANGES} and not k.startswith(("SLURM_", "SRUN_"))}


def said(*command: object, **more: str) -> str:
    environment = {**clean(), "PYTHON": sys.executable, **more}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_build_changes_the_fingerprint(name, tmp_path):
    plain, changed = (said(SET_UP, "--fingerprint", tmp_path, **more) for more in ({}, {name: CHANGES[name]}))
    assert plain.strip() and plain != changed
    assert said(SET_UP, "--fingerprint", tmp_path, **{name: ""}) == plain, "an empty variable says nothing"


@pytest.mark.parametrize("name", NO_CHANGES)
def test_what_horovod_reads_only_as_it_runs_does_not(name, tmp_path):
    assert said(BUILD, "--settings", **{name: NO_CHANGES[name]}) == ""


def test_wheels_of_different_settings_lie_in_different_folders(tmp_path):
    (tmp_path / "torch.py").write_text('__version__ = "2.9.0+cpu"')  # loading the real one takes seconds
    tried = [{}, {"HOROVOD_GPU_OPERATIONS": "NCCL"}, {"HOROVOD_GPU_OPERATIONS": "NCCL", "HOROVOD_CUDA_HOME": "/opt/cuda-12"}]
    places = {"HPCNAS_WHEELS": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    folders = [Path(said(BUILD, "--key", **places, **more).strip()) for more in (*tried, {"CXX": "g++-13"})]
    assert len(set(folders)) == len(folders) and {folder.parent for folder in folders} == {tmp_path}
    assert "-NCCL-" in folders[1].name and "NCCL" not in folders[0].name


def test_what_was_given_once_holds_until_it_is_taken_back(tmp_path):
    plain, nccl = (said(SET_UP, "--fingerprint", tmp_path, **more) for more in ({}, {"HOROVOD_GPU_OPERATIONS": "NCCL"}))
    settings = said(BUILD, "--settings", HOROVOD_GPU_OPERATIONS="NCCL")
    assert settings == "HOROVOD_GPU_OPERATIONS=NCCL\n"
    (tmp_path / ".hpcnas-horovod").write_text(settings)
    assert said(SET_UP, "--fingerprint", tmp_path) == nccl
    assert said(SET_UP, "--fingerprint", tmp_path, HOROVOD_GPU_OPERATIONS="MPI") not in (plain, nccl)
    assert said(SET_UP, "--fingerprint", tmp_path, HOROVOD_GPU_OPERATIONS="") == plain


def test_an_environment_with_other_settings_is_made_anew(tmp_path):
    """As far as to the packages, which this pip refuses."""
    venv, log = tmp_path / "venv", tmp_path / "log"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\necho "$HOROVOD_GPU_OPERATIONS" "$@" >> {log}\nexit 1\n')
    (venv / "bin" / "python").chmod(0o755)
    (venv / ".hpcnas-ready").write_text(said(SET_UP, "--fingerprint", venv))
    said(SET_UP, venv)
    assert not log.exists()
    done = subprocess.run([SET_UP, venv], env={**clean(), "PYTHON": sys.executable, "HOROVOD_GPU_OPERATIONS": "NCCL"})
    assert done.returncode and log.read_text().startswith("NCCL -m pip install")


@pytest.mark.parametrize(
    ("environment", "arguments", "flags"),
    [
        ({}, "", "--bind-to none"),
        ({"SLURM_CPUS_PER_TASK": "4"}, "", "--bind-to none"),
        ({"SLURM_CPUS_PER_TASK": "4", "HPCNAS_BIND": "core"}, "", "--bind-to core --map-by slot:PE=4"),
        ({"SRUN_CPUS_PER_TASK": "4", "HPCNAS_BIND": "core"}, "", "--bind-to core --map-by slot:PE=4"),
        ({"SLURM_CPUS_PER_TASK": "4", "HPCNAS_BIND": "hwthread"}, "", "--bind-to hwthread --map-by slot:PE=4:HWTCPUS"),
        ({"SLURM_CPUS_PER_TASK": "1", "HPCNAS_BIND": "core"}, "", "--bind-to core"),
        ({"SLURM_CPUS_PER_TASK": "many", "HPCNAS_BIND": "core"}, "", "--bind-to core"),
        ({"HPCNAS_BIND": "core"}, "", "--bind-to core"),
        ({"SLURM_CPUS_PER_TASK": "4", "HPCNAS_BIND": "socket"}, "", "--bind-to socket"),
        ({"SLURM_CPUS_PER_TASK": "4", "HPCNAS_BIND": "core"}, "--map-by ppr:2:node", "--bind-to core"),
    ],
)
def test_open_mpi_binds_ranks_to_as_many_cores_as_a_task_has_where_it_is_to_bind(tmp_path, environment, arguments, flags):
    fake = tmp_path / "mpirun"
    fake.write_text('#!/bin/sh\ncase "$1" in --version) echo "mpirun (Open MPI) 5.0.8";; *) echo "$@";; esac\n')
    fake.chmod(0o755)
    told = said(MPIRUN, *arguments.split(), "-np", "2", "true", PATH=f"{tmp_path}:{os.environ['PATH']}", **environment)
    assert told.split() == ["--oversubscribe", *flags.split(), "--with-ft", "ulfm", *arguments.split(), "-np", "2", "true"]


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_free_of_what_shellcheck_warns_of(script):
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed; apt-get install shellcheck does it")
    done = subprocess.run(["shellcheck", "--severity=warning", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
