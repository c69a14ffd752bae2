"""Ranks that are killed, fail or hang, under a fault-tolerant MPI."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from hpcnas.core.archive import Archive
from hpcnas.core.trial import TrialState
from hpcnas.runtime.engines import horovod
from hpcnas.store.journal import replay

PROGRAMS = Path(__file__).parent / "programs"
VERSION = subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout.partition("\n")[0]
pytestmark = pytest.mark.skipif(
    "Open MPI) 5" not in VERSION, reason=f"needs an MPI that survives lost ranks, Open MPI 5; this is {VERSION}"
)
by_each_engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(
            "horovod", marks=pytest.mark.skipif(not horovod.is_installed(), reason="needs Horovod: make setup-horovod")
        ),
        "ddp",
    ],
)


def archive(run: Path) -> Archive:
    return Archive(record.event for record in replay(run / "journal.jsonl"))


@pytest.fixture
def search(mpirun, tiny, tmp_path, monkeypatch):
    """Run a search with ``fates``; its output, status and archive."""

    def search(fates: str, *settings: str, ranks: int = 7, sick: str = "-1 well"):
        monkeypatch.setenv("UNLUCKY", fates)
        monkeypatch.setenv("SICK", sick)
        sets = [part for setting in ("search.group_size=2", "search.max_trials=9", *settings) for part in ("--set", setting)]
        done = mpirun(ranks, str(PROGRAMS / "unlucky_search.py"), *tiny, *sets, "--run", str(tmp_path / "run"), "--resume")
        return done, archive(tmp_path / "run")

    return search


@by_each_engine
def test_killed_and_failing_ranks_cost_their_trials_time_and_nothing_else(search, engine):
    """A loss that is no number on one rank fails the trial on its mates too, and costs no rank."""
    done, after = search("kill 2; raise 4 always; kill 5; nan 7", f"cluster.engine={engine}")
    assert done.returncode == 0, done.output
    assert len(after.results) == 9 and after.trials[2].attempt == after.trials[5].attempt == 2
    assert {r.trial for r in after.results.values() if r.state is TrialState.FAILED} == {4, 7}
    assert "RuntimeError: out of luck" in after.results[4].error and "cut off 3 times" in after.results[4].error
    assert after.results[7].error == "loss not finite in epoch 1" and after.trials[7].attempt == 1
    assert "trial 2 is given out again" in done.output, done.output
    assert re.search(r"lost in this job: rank\(s\) (\d-\d|\d, \d) on ", done.output), f"two ranks: {done.output}"


def test_a_sick_rank_is_left_out_and_all_trials_are_completed(search):
    done, after = search("none -1", "search.group_size=1", "search.max_trials=60", ranks=8, sick="3 poisoned")
    assert done.returncode == 0, done.output
    assert len(after.results) == 60 and all(result.state is TrialState.COMPLETED for result in after.results.values())
    name = f"3 on {socket.gethostname()}"
    assert done.output.count("is left out:") == 1 and f"rank {name} is left out" in done.output, done.output
    assert f"left out in this job: rank(s) {name}\n" in done.output and "illegal memory access" in done.output, done.output


@by_each_engine
def test_of_a_group_the_sick_rank_is_left_out_and_its_mate_goes_on(search, engine):
    done, after = search("none -1", f"cluster.engine={engine}", "search.max_trials=15", ranks=5, sick="2 poisoned")
    assert done.returncode == 0 and "left out in this job: rank(s) 2 on" in done.output, done.output
    assert len(after.results) == 15 and all(result.state is TrialState.COMPLETED for result in after.results.values())


def test_storage_that_is_gone_costs_its_rank_and_little_memory_nothing(search):
    done, after = search("none -1", "search.group_size=1", "search.max_trials=60", ranks=4, sick="1 small; 2 stale")
    assert done.returncode == 0 and "rank 2 on" in done.output and "Stale file handle" in done.output, done.output
    assert "rank 1 on" not in done.output and "too little memory for trial" in done.output, done.output
    assert len(after.results) == 60 and all(result.state is TrialState.COMPLETED for result in after.results.values())


def test_without_a_rank_that_could_train_the_job_ends_to_be_resumed(search):
    done, after = search("none -1", "search.group_size=1", ranks=3, sick="1 poisoned; 2 poisoned")
    assert done.returncode == 75 and not after.results, done.output
    assert done.output.count("no rank is left that could train") == 1 and "illegal memory access" in done.output, done.output


def test_a_search_most_of_whose_trials_failed_does_not_end_as_if_all_were_well(search):
    done, after = search("; ".join(f"diverge {trial} always" for trial in range(5)), "search.group_size=1", ranks=1)
    assert done.returncode == 3 and "5 of 9 trials failed, 5 of them like trial 0 (loss not finite" in done.output, done.output
    assert "Traceback" not in done.output and sum(result.state.has_score for result in after.results.values()) == 4


@by_each_engine
def test_all_but_one_worker_may_die(search, engine):
    done, after = search("kill 0; kill 1; kill 2", f"cluster.engine={engine}", ranks=5)
    assert done.returncode == 0, done.output
    assert len(after.results) == 9 and all(r.state.has_score for r in after.results.values())


@by_each_engine
def test_a_rank_that_hangs_is_ended_and_its_mate_goes_on(search, engine):
    done, after = search("hang 1", f"cluster.engine={engine}", "cluster.hang_limit_s=20", ranks=5)
    assert done.returncode == 0, done.output
    assert "no sign of life for 20 s" in done.output and "this rank hangs" in done.output, done.output
    assert done.output.count("is gone\n") == 1, "the mate only waited"
    assert len(after.results) == 9 and after.results[1].state.has_score


def test_without_its_first_rank_a_job_ends_to_be_resumed(search):
    done, before = search("kill-first 3", ranks=5)
    assert done.returncode == 75 and "Traceback" not in done.output, done.output
    done, after = search("none 0", ranks=3)
    assert done.returncode == 0, done.output
    assert len(after.results) == 9 and all(after.results[i] == result for i, result in before.results.items())


@by_each_engine
def test_a_job_that_shall_not_go_on_ends_with_the_lost_group(search, engine):
    done, _ = search("kill 1", f"cluster.engine={engine}", "cluster.on_group_loss=abort", ranks=5)
    assert done.returncode not in (0, 124), done.output
    assert "is lost" in done.output and "--resume goes on" in done.output, done.output


def test_ranks_that_have_left_are_not_taken_for_dead_ones(mpirun):
    done = mpirun(4, str(PROGRAMS / "late_rank.py"))
    assert (done.returncode, done.output) == (0, "")
