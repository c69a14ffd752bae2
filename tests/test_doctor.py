"""What the doctor says of a machine, and that it is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas import doctor
from hpcnas.core.threads import Cpus
from hpcnas.doctor import Finding, Use

ROOT = Path(__file__).parent.parent
WHOLE = {
    "horovod_installed": True,
    "mpi": "Open MPI v5.0.8",
    "threads": True,
    "torch": "2.9.0",
    "gpus": [],
    "horovod": "0.28.1+checked",
    "nccl": [],
}
WITHOUT = {k: v for k, v in WHOLE.items() if k != "horovod"} | {"no_horovod": "LaunchError: gone"}
TOGETHER = {"ranks": 2, "survives": True, "sums": {"horovod": 3.0, "ddp": 3.0}}
GROUPS = {Use.GROUPS, Use.GPU_GROUPS}
SEARCHING = set(doctor.SEARCHING)


def prevented(findings) -> set[Use]:
    return {use for one in findings for use in one.prevents}


@pytest.mark.parametrize(
    ("facts", "uses"),
    [
        (WHOLE, set()),
        ({"error": "ModuleNotFoundError: No module named 'h5py'"}, SEARCHING),
        ({**WHOLE, "threads": False}, SEARCHING),
        (WITHOUT, GROUPS),
        ({**WITHOUT, "horovod_installed": False}, set()),
        ({**WITHOUT, "horovod_installed": False, "no_ddp": "LaunchError: no gloo"}, GROUPS),
        ({**WHOLE, "no_ddp": "LaunchError: no gloo"}, set()),
    ],
)
def test_one_process_needs_mpi_and_groups_one_engine(facts, uses):
    assert prevented(doctor.of_process_alone(facts)) == uses


@pytest.mark.parametrize(
    ("facts", "uses"),
    [
        (TOGETHER, set()),
        ({**TOGETHER, "survives": False}, set()),
        ({**TOGETHER, "sums": {"ddp": 3.0}}, set()),
        ({**TOGETHER, "ranks": 1, "sums": {}}, {Use.RANKS, *GROUPS}),
        ({**TOGETHER, "sums": {"horovod": 2.0, "ddp": 3.0}}, GROUPS),
        ({**TOGETHER, "sums": {"horovod": "HorovodInternalError", "ddp": 3.0}}, GROUPS),
        ({**TOGETHER, "sums": {"horovod": 3.0, "ddp": "GroupLost"}}, set()),
        ({**TOGETHER, "sums": {"ddp": "GroupLost"}}, GROUPS),
    ],
)
def test_ranks_that_know_of_each_other_are_enough_for_many_groups_of_one(facts, uses):
    assert prevented(doctor.of_two_ranks(facts, "mpirun")) == uses


def test_gpus_are_told_by_torch_and_nccl_matters_for_their_groups_alone(monkeypatch):
    assert prevented(doctor.of_gpus({**WHOLE, "gpus": ["H100"], "nccl": ["horovod"]})) == set()
    (no_nccl,) = list(doctor.of_gpus({**WHOLE, "gpus": ["H100"], "nccl": ["ddp"]}))[1:]
    assert set(no_nccl.prevents) == {Use.GPU_GROUPS} and 'cluster.engine = "ddp"' in no_nccl.advice
    assert prevented(doctor.of_gpus({**WITHOUT, "gpus": ["H100"], "nccl": ["ddp"]})) == set()
    assert prevented(doctor.of_gpus({**WITHOUT, "gpus": ["H100"]})) == {Use.GPU_GROUPS}
    assert prevented(doctor.of_gpus(WHOLE)) == {Use.GPUS, Use.GPU_GROUPS}
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (unseen,) = doctor.of_gpus(WHOLE)
    assert "torch sees none" in unseen.found and unseen.advice


def test_the_environment_that_python_is_in_has_the_mpirun_wherever_path_points(tmp_path, monkeypatch):
    for place in ("venv", "site"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mpirun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "site"))
    assert doctor.mpirun_of(str(tmp_path / "venv" / "python")) == tmp_path / "venv" / "mpirun"
    assert doctor.mpirun_of(str(tmp_path / "python")) == tmp_path / "site" / "mpirun"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.mpirun_of(str(tmp_path / "python")) is None


def test_threads_are_shown_with_their_reason_and_what_is_no_number_with_a_way_out():
    own = Cpus(frozenset(range(32)), 64, {})
    slurm = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_TASKS_PER_NODE": "8(x2),3"}
    found = {one.subject: one for one in doctor.of_threads(slurm, own)}
    assert "4 (SLURM_CPUS_PER_TASK=4), with 8 ranks" in found["threads of a rank"].found
    found = {one.subject: one for one in doctor.of_threads({"OMP_NUM_THREADS": "abc"}, own)}
    assert "32 cores of its own" in found["threads of a program"].found and "abc" in found["threads"].found
    assert "with 33 ranks on this node" in found["threads of a rank"].found and found["threads"].advice
    found = {one.subject: one for one in doctor.of_threads({"OMP_NUM_THREADS": "64,2"}, own)}
    assert "more threads than CPUs" in found["threads of a program"].advice


def test_what_is_not_installed_is_missing_for_its_use_alone(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    missing = list(doctor.of_extras())
    assert prevented(missing) == {Use.EXPORT, Use.LITERT, Use.EXECUTORCH, Use.SPEECH, Use.MICRO, Use.ROOMS, Use.PARQUET}
    assert all("pip install" in one.advice for one in missing)


def test_a_folder_that_cannot_be_written_prevents_every_search(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCNAS_CACHE", str(tmp_path))
    (tmp_path / "file").touch()
    folder, cache = doctor.of_files(tmp_path / "file" / "run")
    assert set(folder.prevents) == SEARCHING and "file" in folder.found and not cache.prevents


@pytest.mark.parametrize(
    ("findings", "status", "line"),
    [
        ([], 0, "A search would run here.\n"),
        ([Finding("mpirun", "none [x]", "load it", (Use.RANKS,))], 0, "A search would run here. In one process only.\n"),
        ([Finding("MPI", "none", "load it", doctor.SEARCHING)], 1, "A search would not run here.\n"),
    ],
)
def test_the_last_line_and_the_status_are_about_a_search_in_whatever_way(findings, status, line, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    for what in ("of_programs", "of_files", "of_batch_system", "of_threads", "of_extras"):
        monkeypatch.setattr(doctor, what, lambda *arguments: [])
    monkeypatch.setattr(doctor, "of_programs", lambda: findings)
    with pytest.raises(SystemExit) as end:
        doctor.main([])
    output = capsys.readouterr().out
    assert end.value.code == status and output.endswith(line)
    assert all(one.found in output for one in findings)


@pytest.fixture
def no_horovod(tmp_path) -> dict[str, str]:
    """An environment in which Horovod cannot be loaded and nothing is on PATH but the system's own."""
    (tmp_path / "without" / "horovod").mkdir(parents=True)
    (tmp_path / "without" / "horovod" / "__init__.py").write_text("raise ImportError('libmpi.so.40: no such file')\n")
    path = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path / 'without'}:{ROOT}", "COLUMNS": "200"}
    return {**os.environ, **path, "HPCNAS_CACHE": str(tmp_path / "cache")}


def test_outside_the_environment_and_without_horovod_a_search_runs_as_the_doctor_says(no_horovod, tiny, tmp_path):
    command = [sys.executable, "-m", "hpcnas.doctor", "--run", str(tmp_path)]
    done = subprocess.run(command, env=no_horovod, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "A search would run here." in done.stdout, done.stdout + done.stderr
    said = {line[:26].strip(): line[26:].strip() for line in done.stdout.splitlines()}
    assert said["a search in one process"] == "yes"
    assert said["groups of several ranks"].startswith("no, Horovod: LaunchError: Horovod cannot be loaded (libmpi.so.40")
    if (Path(sys.executable).parent / "mpirun").exists():
        assert said["many ranks"] == "yes", done.stdout
    command = [sys.executable, "-m", "hpcnas.search", *tiny, "--set", "search.max_trials=1", "--run", str(tmp_path / "run")]
    done = subprocess.run(command, env=no_horovod, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and "threads a rank: " in done.stderr, done.stderr
