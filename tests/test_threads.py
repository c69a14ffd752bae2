"""How many threads a rank gets: what the user, the batch system and the machine say, and what comes of it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.core.threads import Cpus, decide
from hpcnas.runtime import cpus

ROOT = Path(__file__).parent.parent
CPUS = sorted(os.sched_getaffinity(0))[:4]


def span(first: int, count: int) -> frozenset[int]:
    return frozenset(range(first, first + count))


def place(allowed: frozenset[int], of_machine: int = 64, quota: float = math.inf, two_a_core: bool = False) -> Cpus:
    """CPUs of a made-up node; with ``two_a_core`` CPU n and n + half are one core."""
    core_of = {cpu: cpu % (of_machine // 2) for cpu in range(of_machine)} if two_a_core else {}
    return Cpus(allowed, of_machine, core_of, quota)


ALL, LAPTOP, CPUSET = span(0, 64), span(0, 4), span(16, 32)
SLURM = {"SLURM_JOB_ID": "7"}
FOUR = {**SLURM, "SLURM_CPUS_PER_TASK": "4"}


def pbs(ncpus: int, threads: int) -> dict[str, str]:
    return {"PBS_JOBID": "7", "NCPUS": str(ncpus), "OMP_NUM_THREADS": str(threads)}


SITUATIONS = {
    # name: (environment, own place, CPUs of the other ranks that train, threads, part of the reason)
    "laptop, one process": ({}, place(LAPTOP, 4), [], 4, "4 cores of its own"),
    "laptop, hyperthreads": ({}, place(span(0, 8), 8, two_a_core=True), [], 4, "4 cores"),
    "two cores, two ranks that train and one that coordinates": ({}, place(span(0, 2), 2), [span(0, 2)], 1, "shared by 2"),
    "more ranks than cores": ({}, place(span(0, 2), 2), [span(0, 2)] * 5, 1, "shared by 6"),
    "a login node": ({}, place(ALL), [], 8, "no more than 8 of 64 cores"),
    "a login node, asked": ({"OMP_NUM_THREADS": "20"}, place(ALL), [], 20, "OMP_NUM_THREADS=20"),
    "taskset on a login node": ({}, place(span(0, 16)), [], 16, "16 cores of its own"),
    "bound ranks": ({}, place(span(8, 4)), [span(0, 4), span(4, 4), span(12, 4)], 4, "4 cores of its own"),
    "ranks bound to a core each": ({}, place(span(3, 1)), [span(n, 1) for n in (1, 2)], 1, "1 core of its own"),
    "ranks bound to both hyperthreads of a core": (
        {}, place(frozenset({3, 35}), two_a_core=True), [frozenset({4, 36})], 1, "1 core of its own",
    ),
    "ranks bound to one hyperthread each, two on a core": (
        {}, place(span(0, 4), two_a_core=True), [span(32, 4)], 2, "4 cores shared by 2",
    ),
    "ranks bound to sockets": ({}, place(span(0, 32)), [span(0, 32)] * 3 + [span(32, 32)] * 4, 8, "32 cores shared by 4"),
    "unbound ranks on a whole node": ({}, place(ALL), [ALL] * 7, 8, "64 cores shared by 8"),
    "unbound ranks in a cpuset": ({}, place(span(0, 8)), [span(0, 8)] * 7, 1, "8 cores shared by 8"),
    "seven ranks in a cpuset of eight, and one that coordinates": ({}, place(span(0, 8)), [span(0, 8)] * 6, 1, "shared by 7"),
    "Slurm, srun with cpus-per-task": (
        FOUR, place(span(4, 4)), [span(0, 4), span(8, 4)], 4, "SLURM_CPUS_PER_TASK=4",
    ),
    "Slurm, hyperthreads asked for": (
        FOUR, place(frozenset({0, 1, 32, 33}), two_a_core=True), [], 4, "SLURM_CPUS_PER_TASK=4",
    ),
    "Slurm, srun without cpus-per-task": ({**SLURM, "SLURM_CPUS_ON_NODE": "8"}, place(span(2, 1)), [span(1, 1)], 1, "1 core"),
    "Slurm, srun that does not pass cpus-per-task on": (
        FOUR, place(span(2, 1)), [span(1, 1)], 1, "there is room for 1 only: 1 CPU of its own",
    ),
    "Slurm, mpirun in sbatch, one rank coordinating": (
        {**FOUR, "SLURM_CPUS_ON_NODE": "32"}, place(CPUSET), [CPUSET] * 6, 4, "SLURM_CPUS_PER_TASK",
    ),
    "Slurm that confines nobody": (
        {**FOUR, "SLURM_CPUS_ON_NODE": "32"}, place(ALL), [ALL] * 6, 4, "SLURM_CPUS_PER_TASK=4",
    ),
    "Slurm that confines nobody, without cpus-per-task": (
        {**SLURM, "SLURM_CPUS_ON_NODE": "16"}, place(ALL), [ALL] * 7, 2, "SLURM_CPUS_ON_NODE gives 16 on this node for 8",
    ),
    "Slurm, more ranks started than asked for": (
        FOUR, place(CPUSET), [CPUSET] * 15, 2, "room for 2 only: 32 CPUs shared by 16",
    ),
    "Slurm, cpus-per-task for srun alone": ({**SLURM, "SRUN_CPUS_PER_TASK": "2"}, place(ALL), [ALL] * 7, 2, "SRUN_CPUS"),
    "Slurm, a step of evaluate": ({**SLURM, "SLURM_CPUS_PER_TASK": "16"}, place(ALL), [], 16, "SLURM_CPUS_PER_TASK=16"),
    "Slurm, overruled by the user": (
        {**FOUR, "OMP_NUM_THREADS": "2"}, place(span(4, 4)), [], 2, "OMP_NUM_THREADS=2",
    ),
    "Slurm, no number": ({**SLURM, "SLURM_CPUS_PER_TASK": "many"}, place(span(4, 4)), [span(0, 4)], 4, "4 cores of its own"),
    "PBS, a chunk of 16 ranks": (
        pbs(16, 16), place(span(0, 16)), [span(0, 16)] * 15, 1, "room for 1 only",
    ),
    "PBS with ompthreads": (
        pbs(4, 4), place(span(0, 16)), [span(0, 16)] * 3, 4, "OMP_NUM_THREADS=4 of PBS",
    ),
    "PBS with ompthreads, confining nobody": (
        pbs(4, 4), place(ALL), [ALL] * 3, 4, "OMP_NUM_THREADS=4 of PBS",
    ),
    "PBS, overruled by the user": (
        pbs(16, 2), place(span(0, 16)), [span(0, 16)] * 15, 2, "OMP_NUM_THREADS=2",
    ),
    "Torque": ({"PBS_JOBID": "7", "PBS_NUM_PPN": "16"}, place(ALL), [ALL] * 3, 4, "PBS_NUM_PPN gives 16"),
    "LSF, a slot a rank": ({"LSB_MCPU_HOSTS": "n1 16 n2 8"}, place(ALL), [ALL] * 7, 1, "LSB_MCPU_HOSTS gives 8"),
    "LSF, slots of four cores each": ({"LSB_MCPU_HOSTS": "n1 8 n2 8"}, place(CPUSET), [CPUSET] * 7, 4, "32 cores shared by 8"),
    "LSF, on a host that it does not list": ({"LSB_MCPU_HOSTS": "n1 16"}, place(ALL), [ALL] * 7, 8, "64 cores shared by 8"),
    "Grid Engine": ({"NSLOTS": "32", "NHOSTS": "2"}, place(ALL), [ALL] * 3, 4, "NSLOTS gives 16"),
    "a container with a quota": ({}, place(ALL, quota=6.0), [ALL] * 2, 2, "quota of 6 CPUs for 3 ranks"),
    "a container with a quota below one CPU": ({}, place(ALL, quota=0.5), [], 1, "quota of 0.5 CPUs"),
    "a quota below what was asked for": (
        {**SLURM, "SLURM_CPUS_PER_TASK": "8"}, place(ALL, quota=4.0), [], 4, "room for 4 only: a control group's quota of 4",
    ),
    "OpenMP's list": ({"OMP_NUM_THREADS": "4,2"}, place(LAPTOP, 4), [LAPTOP], 4, "OMP_NUM_THREADS=4,2"),
    "OpenMP's list, with spaces": ({"OMP_NUM_THREADS": " 3 , 2 "}, place(LAPTOP, 4), [LAPTOP], 3, "OMP_NUM_THREADS=3 , 2"),
    "an empty variable": ({"OMP_NUM_THREADS": "", "SLURM_CPUS_PER_TASK": " "}, place(LAPTOP, 4), [], 4, "4 cores"),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_threads_are_what_the_situation_calls_for(name):
    environment, own, beside, number, reason = SITUATIONS[name]
    decided = decide(environment, own, beside, host="n2.cluster.example")
    assert decided.number == number and reason in decided.reason, decided


@pytest.mark.parametrize("value", ["0", "abc", "-2", "2.5", "4;2", "4,", ",4", "4,x", "0,2", "٤", "1e3", "$N"])
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK"])
def test_what_is_no_number_is_named_and_not_heeded(name, value):
    decided = decide({name: value}, place(LAPTOP, 4), [LAPTOP])
    assert decided.number == 2 and decided.not_heeded == (f"{name}={value} is no number of threads, and not heeded",)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8, 17, 64, 100])
@pytest.mark.parametrize("cores", [1, 2, 8, 64])
def test_ranks_that_share_cores_never_have_more_threads_than_cores_unless_they_are_more_themselves(ranks, cores):
    own = place(span(0, cores), 128)
    total = sum(decide({}, own, [own.allowed] * (ranks - 1)).number for _ in range(ranks))
    assert ranks <= total <= max(ranks, cores) and (ranks >= cores or total > cores - ranks)


def kernel(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "400000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 4.0),
        ("0::/seen/outside/only", {"sys/fs/cgroup/cpu.max": "100000 100000"}, 1.0),
        (
            "4:cpu,cpuacct:/docker/x",
            {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        ("4:cpu:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("9:name=systemd:/\n0::/", {}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_quota_is_the_least_of_the_control_groups_above(tmp_path, cgroup, files, quota):
    assert cpus.of_process(kernel(tmp_path, cgroup, files)).quota == quota


def test_hardware_threads_of_a_core_are_known_as_one_core(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 64, 66}, raising=False)
    lists = {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{n % 64},{n % 64 + 64}" for n in (0, 1, 64, 66)}
    own = cpus.of_process(kernel(tmp_path, "", lists))
    assert own.cores(own.allowed) == {0, 1, 2} and own.cores({65}) == {1}


def test_a_system_without_affinity_gives_the_whole_machine(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cpus.of_process(tmp_path).allowed == set(range(os.cpu_count()))


def test_the_launcher_leaves_the_decision_to_the_programs(tmp_path):
    (tmp_path / "bin").mkdir()
    for more in ({}, {"OMP_NUM_THREADS": "3"}):
        done = subprocess.run(
            [ROOT / "tools" / "with_env.sh", tmp_path, "sh", "-c", "echo ${OMP_NUM_THREADS-unset}"],
            env=undirected(**more), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == more.get("OMP_NUM_THREADS", "unset")


def undirected(**more: str) -> dict[str, str]:
    """This environment without a word about threads."""
    return {
        k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_", "SLURM_", "SRUN_", "PBS_", "LSB_"))
    } | more


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, f"shared by {len(CPUS)} ranks that train)" if len(CPUS) > 1 else "1 core of its own"),
        ({"OMP_NUM_THREADS": "2,1"}, "(OMP_NUM_THREADS=2,1)"),
    ],
    ids=["by themselves", "of the user"],
)
def test_ranks_share_the_cores_and_say_so(environment, reason):
    """One rank that coordinates, and as many that train as there are CPUs: what ``make search`` starts."""
    ranks = 1 + len(CPUS)
    command = [ROOT / "tools" / "with_env.sh", sys.prefix, ROOT / "tools" / "mpirun.sh", "-np", str(ranks), sys.executable]
    done = subprocess.run(
        ["timeout", "-k", "5", "120", *command, ROOT / "tests" / "programs" / "threads.py"],
        env=undirected(**environment), capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, CPUS),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("THREADS")]
    each = "2" if "OMP_NUM_THREADS" in environment else "1"
    assert line.split() == ["THREADS", *[each] * ranks]
    assert f"INFO threads a rank: {each} (" in done.stderr and reason in done.stderr, done.stderr


_ALONE = "import torch; from hpcnas.runtime.threads import set_alone; set_alone(); print(torch.get_num_threads())"


@pytest.mark.parametrize(
    ("said", "threads"), [({"OMP_NUM_THREADS": "3,2"}, "3"), ({"OMP_NUM_THREADS": "abc", "SLURM_CPUS_PER_TASK": "1"}, "1")]
)
def test_a_program_that_is_no_rank_computes_with_what_was_decided(said, threads):
    done = subprocess.run([sys.executable, "-c", _ALONE], env=undirected(**said), capture_output=True, text=True)
    assert done.stdout.strip() == threads and "Traceback" not in done.stderr, done.stderr
    assert ("OMP_NUM_THREADS=abc is no number" in done.stderr) == (said["OMP_NUM_THREADS"] == "abc")
