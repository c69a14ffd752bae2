"""Jobs under a real Slurm, and what they decide."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcnas.core.trial import Result
from hpcnas.runtime import walltime
from hpcnas.runtime.walltime import job_end, span
from hpcnas.store.journal import replay

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("batch", ROOT / "tools" / "batch.py")
batch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(batch)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("2:05", 125), ("01:00:00", 3600), ("1-00:00:10", 86410), ("0", 0)])
def test_lengths_of_time_are_read_as_slurm_writes_them(text, seconds):
    assert span(text) == seconds


def test_the_end_of_a_job_is_what_the_user_or_slurm_says():
    assert job_end(None, {}) == float("inf")
    assert job_end(None, {"SLURM_JOB_END_TIME": "1700000000"}) == 1.7e9
    assert job_end(60.0, {"SLURM_JOB_END_TIME": "1700000000"}) == pytest.approx(time.time() + 60, abs=5)


@pytest.mark.parametrize("told", ["Unknown", "nan", "-1", "0", "inf", "2026-11-26T14:00:00", "1e99", "٣"])
@pytest.mark.parametrize(("left", "end_s"), [("1:00", 60), ("UNLIMITED", float("inf")), ("", float("inf"))])
def test_an_end_that_is_no_time_is_told_and_squeue_is_asked(told, left, end_s, monkeypatch, caplog):
    monkeypatch.setattr(walltime.subprocess, "run", lambda command, **options: SimpleNamespace(stdout=left))
    end = job_end(None, {"SLURM_JOB_END_TIME": told, "SLURM_JOB_ID": "7"})
    assert end == pytest.approx(time.time() + end_s, abs=5)
    assert [record.getMessage().startswith(f"SLURM_JOB_END_TIME = {told!r}: is no time") for record in caplog.records] == [True]


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Run tools/batch.py in a made-up job: a program that writes ``marker`` and ends with ``status``; what Slurm was told."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "scontrol"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" RUN=$RUN >> {tmp_path}/told\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(batch.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(batch.signal, "signal", lambda *arguments: None)
    run = tmp_path / "run"
    run.mkdir()

    def job(status: int, marker: bool, results: int = 0, is_cancelled: bool = False) -> tuple[int, str]:
        def supervise(command, environment):
            with open(run / "journal.jsonl", "a") as journal:
                journal.write('{"event": "result"}\n' * results)
            if marker:
                (run / "complete").touch()
            return status, is_cancelled

        monkeypatch.setattr(batch, "supervise", supervise)
        monkeypatch.setattr("sys.argv", ["batch", "--then", "next.slurm", "hpcnas.search", "--run", str(run)])
        told = tmp_path / "told"
        told.unlink(missing_ok=True)
        return batch.main(), told.read_text() if told.exists() else ""

    return job


def test_the_completion_marker_decides_and_the_next_job_depends_on_this_one(job, tmp_path):
    assert job(0, marker=True) == (0, f"sbatch --dependency=afterok:7 next.slurm RUN={tmp_path / 'run'}\n")


@pytest.mark.parametrize("status", [75, 0, 137, 1], ids=["suspended", "a lost node", "killed", "a crash"])
def test_a_job_without_the_marker_is_requeued_while_it_brings_something_new(job, status):
    for _ in range(5):
        assert job(status, marker=False, results=1) == (75, "scontrol requeue 7 RUN=\n")
    for _ in range(batch.FRUITLESS_JOBS - 1):
        assert job(status, marker=False)[1].startswith("scontrol requeue")
    assert job(status, marker=False) == (status or 1, "")


def test_a_job_that_cannot_be_counted_is_not_tried_again(job, tmp_path):
    (tmp_path / "run" / "batch.json").mkdir()
    assert job(75, marker=False, results=1) == (75, "")


def test_a_cancelled_job_stays_cancelled(job):
    assert job(75, marker=False, results=1, is_cancelled=True) == (75, "")


@pytest.mark.parametrize("status", [2, 3], ids=["bad input", "most trials failed"])
def test_what_would_not_go_better_is_not_tried_again(job, status):
    assert job(status, marker=False, results=1) == (status, "")


def test_a_launcher_that_is_unknown_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        batch.on_all_ranks(["true"], {"HPCNAS_LAUNCHER": "mpiexec"})
    assert end.value.code == 2
    assert capsys.readouterr().err == "batch.py: HPCNAS_LAUNCHER = 'mpiexec': unknown; known: mpirun, srun\n"


@pytest.mark.parametrize(
    ("told", "is_5"),
    [("mpirun (Open MPI) 5.0.8", True), ("mpirun (Open MPI) v6.1.0a1", True), ("mpirun (Open MPI) 4.1.4", False),
     ("HYDRA build details:", False), ("", False)],
)  # fmt: skip
def test_any_mpirun_may_say_its_version(told, is_5, monkeypatch):
    monkeypatch.setattr(batch.shutil, "which", lambda name: name)
    monkeypatch.setattr(batch.subprocess, "run", lambda *arguments, **options: SimpleNamespace(stdout=f"{told}\n\nReport bugs"))
    assert batch.has_open_mpi_5() is is_5


def test_a_count_of_jobs_that_was_cut_off_begins_anew(tmp_path):
    for content in ("", "{", "[]", '{"fruitless_jobs": null}'):
        (tmp_path / "batch.json").write_text(content)
        assert batch.fruitless_jobs(tmp_path) == 0


def test_a_full_disk_behind_the_output_of_a_job_does_not_change_its_end(monkeypatch):
    def full(descriptor: int, line: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch.os, "write", full)
    batch.say("requeued")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, None),
        ({"SLURM_CPUS_PER_TASK": "4"}, "--cpus-per-task=4"),
        ({"SRUN_CPUS_PER_TASK": "2"}, "--cpus-per-task=2"),
        ({"SLURM_CPUS_PER_TASK": "4", "SRUN_CPUS_PER_TASK": "2"}, "--cpus-per-task=2"),
    ],
)
def test_srun_is_told_the_cpus_of_a_task_which_it_does_not_inherit(environment, told):
    command = batch.on_all_ranks(["true"], {"HPCNAS_LAUNCHER": "srun", "SLURM_NTASKS": "8", **environment})
    assert [part for part in command if part.startswith("--cpus-per-task")] == ([told] if told else [])


def test_srun_starts_the_ranks_of_every_part_of_a_heterogeneous_job(capsys):
    parts = {"SLURM_HET_SIZE": "2", "SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK_HET_GROUP_1": "4"}
    first, second = " ".join(batch.on_all_ranks(["true"], parts)).split(" : ")
    assert "--het-group=0" in first and "--cpus-per-task" not in first and first.endswith(" true")
    assert "--het-group=1 --cpus-per-task=4" in second and second.endswith(" true")
    with pytest.raises(SystemExit) as end:
        batch.on_all_ranks(["true"], {**parts, "HPCNAS_LAUNCHER": "mpirun"})
    assert end.value.code == 2 and "heterogeneous job alone; use srun" in capsys.readouterr().err


@pytest.fixture(scope="module")
def slurm():
    """A Slurm of two made-up nodes; none is started beside one that is there."""
    if not shutil.which("slurmctld"):
        pytest.skip("Slurm is not installed; tests/slurm_lab.sh install (root, Debian) does it")
    if os.getuid():
        pytest.skip("a throw-away Slurm needs root: run as root, in a container")
    lab = ROOT / "tests" / "slurm_lab.sh"
    up = subprocess.run([lab, "up", "2", "32"], capture_output=True, text=True)
    if up.returncode:
        pytest.skip(up.stderr.strip())
    yield
    subprocess.run([lab, "down"])


DOCUMENTED = [line for line in (ROOT / "docs" / "cluster.md").read_text().splitlines() if line.startswith("sbatch ")]


@pytest.mark.parametrize("line", DOCUMENTED)
def test_slurm_would_take_the_documented_lines(slurm, line, tmp_path):
    command = line.replace("sbatch", "sbatch --test-only")
    environment = {**os.environ, "SCRATCH": str(tmp_path)}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "to start at" in done.stderr, done.stderr


def queue() -> list[list[str]]:
    lines = subprocess.run(["squeue", "-h", "-o", "%i %r"], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in lines.splitlines()]


def results(run: Path) -> list[int]:
    """Trials of which the journal has a result."""
    return [r.event.trial for r in replay(run / "journal.jsonl") if isinstance(r.event, Result)]


def has_pmix() -> bool:
    """Whether this Slurm can hand a job's ranks to an MPI by PMIx."""
    return subprocess.run(["timeout", "60", "srun", "--mpi=pmix", "--ntasks=1", "true"], capture_output=True).returncode == 0


def undirected() -> dict[str, str]:
    """This environment, in which Slurm alone says how many threads there are."""
    return {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}


def threads_are_of_slurm(output: str) -> bool:
    """Or fewer, where ranks of several made-up nodes share this machine's cores."""
    return re.search(r"threads a rank: \d \(SLURM_CPUS_PER_TASK=2", output) is not None


NODES = ["--ntasks=4", "--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=2"]
"""Two ranks a node: of more than there are cores, Open MPI finds no place for the third."""
PARTS = ["--ntasks=1", "--cpus-per-task=2", ":", "--ntasks=2", "--cpus-per-task=2"]


@pytest.mark.parametrize(("shape", "ranks"), [(NODES, 4), (PARTS, 3)], ids=["nodes", "parts of a heterogeneous job"])
def test_srun_starts_the_ranks_where_mpirun_does_not(slurm, tiny_once, tmp_path, shape, ranks):
    """Also in a job that was submitted without its user's environment, and with spaces in its name and its run's."""
    if not has_pmix():
        pytest.skip("this Slurm has no PMIx; tests/slurm_lab.sh install brings it on Debian")
    run, script = tmp_path / "my run", tmp_path / "my job"
    command = [sys.executable, str(ROOT / "tools" / "batch.py"), "hpcnas.search", "--run", str(run), *tiny_once]
    script.write_text(f"#!/bin/sh\nHPCNAS_LAUNCHER=srun exec {shlex.join(command)} --set search.max_trials=4\n")
    limits = ["--export=NONE", "--job-name=my search", "--time=5", f"--output={tmp_path}/out", *shape]
    subprocess.run(["sbatch", "--wait", *limits, str(script)], check=True, cwd=ROOT, timeout=300, env=undirected())
    output = (tmp_path / "out").read_text()
    assert "--mpi=pmix" in output and "--cpus-per-task=2" in output and threads_are_of_slurm(output), output
    assert f"{ranks} rank(s)" in output and "group(s) on 2 node(s)" in output, output
    assert len(results(run)) == 4, output


def test_a_search_goes_on_over_the_end_of_its_job_to_ensemble_and_report(slurm, tiny_once, tmp_path):
    run = tmp_path / "run"
    (tmp_path / "empty.toml").touch()
    # Enough seconds of search for two jobs.
    limits = ["--set", "search.max_trials=100000", "--set", "search.time_limit=25"]
    limits += ["--set", "space.max_depth=6"]  # so that it does not run out of towers
    environment = {
        **undirected(), "VENV": sys.prefix, "CONFIG": str(tmp_path / "empty.toml"), "RUN": str(run),
        "SBATCH_OUTPUT": f"{tmp_path}/%x-%j.out",
    }  # fmt: skip
    # Lists with quotes do not survive sbatch's environment: the settings go into a copy of the script.
    script = (ROOT / "jobs" / "search.slurm").read_text().replace("${ARGS:-}", shlex.join([*tiny_once, *limits]))
    assert "\n#SBATCH --signal=B:USR2@120 " in script
    (tmp_path / "search.slurm").write_text(script)
    # One rank that trains: it does so for all these seconds.
    submit = [
        "sbatch",
        "--parsable",
        "--ntasks=2",
        "--nodes=2",
        "--cpus-per-task=2",
        "--time=10",
        str(tmp_path / "search.slurm"),
    ]
    first = subprocess.run(submit, env=environment, check=True, cwd=ROOT, text=True, capture_output=True).stdout.strip()
    deadline, is_warned = time.monotonic() + 600, False
    while jobs := queue():
        assert time.monotonic() < deadline, jobs
        if not is_warned and (run / "journal.jsonl").exists() and results(run):
            # What the script asks Slurm for, minutes earlier.
            subprocess.run(["scancel", "--batch", "--signal=USR2", first], check=True)
            is_warned = True
        for number, reason in jobs:
            if reason == "BeginTime":  # Slurm holds a requeued job back for two minutes
                subprocess.run(["scontrol", "update", f"jobid={number}", "starttime=now"], check=True)
        time.sleep(1)
    output = "\n".join(path.read_text() for path in tmp_path.glob("*.out"))
    assert (run / "report" / "index.html").exists() and (run / "ensemble" / "ensemble.h5").exists(), output
    assert threads_are_of_slurm(output), output
    assert "requeued, to go on where it is" in output and "the job is about to end" in output, output
    ids = results(run)
    assert len(set(ids)) == len(ids) > 0, "no trial was done twice"
