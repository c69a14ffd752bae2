"""Rank 0's desk: who may write a run, and what is written of trials that run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import completed, made_run, trial, write

from hpcnas import config as configuration
from hpcnas.core.errors import RunError
from hpcnas.core.messages import Progress, Ready, Verdict
from hpcnas.core.stopping import NeverStop
from hpcnas.core.strategies import RandomSearch
from hpcnas.runtime import desk as desks
from hpcnas.runtime.desk import Desk
from hpcnas.runtime.plan import Plan
from hpcnas.store import running_file
from hpcnas.store.journal import Journal, replay
from hpcnas.store.run_dir import RunDir

CORPUS = SimpleNamespace(bands=40, window=98, class_names=("",) * 12)


def plan(run: RunDir, **changes) -> Plan:
    config = configuration.Config()
    return Plan(
        stage=run.search, strategy=RandomSearch(), inheritance=config.inheritance, stopping=NeverStop(), tuning=config.tuning,
        combiner=config.combiner, search=replace(config.search, max_trials=3), training=config.training,
        augmentation=config.augmentation, budget=config.space.budget, **changes,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_signals(monkeypatch):
    monkeypatch.setattr(desks, "stop_on_signal", lambda stop: None)


def tree(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def test_of_two_jobs_that_start_together_the_second_has_all_that_the_first_did_or_is_refused(tmp_path, monkeypatch):
    """The other job writes a result and ends at the worst moment: just before this one reads the journal, or just then."""
    run, tried = RunDir(tmp_path), []
    write(Journal(run.search.journal), trial(0), 1.0)

    def other() -> None:
        try:
            write(Journal(run.search.journal), completed(0, 0.9), 2.0)
            tried.append("wrote")
        except RunError as error:
            tried.append(str(error))

    def replayed(path: Path):
        other()
        records = replay(path)
        other()
        return records

    monkeypatch.setattr(desks, "replay", replayed)
    desk = Desk(configuration.Config(), CORPUS, plan(run))
    written = {record.event.trial for record in replay(run.search.journal) if hasattr(record.event, "score")}
    assert set(desk.coordinator.archive.results) == written, "what the journal has, the job knows"
    assert len(tried) == 2 and all("another program is writing this run" in one for one in tried)


def test_a_job_that_is_refused_has_changed_nothing(tmp_path):
    run = made_run(tmp_path / "run")
    (run.root / ".archive.h5.other-1.part").write_bytes(b"half")
    writing = Journal(run.search.journal)
    before = tree(run.root)
    begun = []
    with pytest.raises(RunError, match="another program is writing this run"):
        Desk(configuration.Config(), CORPUS, plan(run, begin=lambda: begun.append(True)))
    assert tree(run.root) == before and not begun and writing.path.exists()


@pytest.mark.parametrize("arguments", [(), ("--resume", "--set", "search.max_trials=99")])
def test_a_second_search_on_a_run_is_refused_before_it_rewrites_anything(mpirun, tiny, tmp_path, arguments):
    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    run.config.write_text(configuration.dump(configuration.load(None, tiny[1::2])))
    writing = Journal(run.search.journal)
    before = tree(run.root)
    done = mpirun(1, "hpcnas.search", *tiny, *arguments, "--run", str(run.root))
    assert done.returncode == 2 and done.output.count("\n") == 1 and "RunError" in done.output, done.output
    assert tree(run.root) == before and writing.path.exists()


def test_a_run_that_another_job_began_and_ended_meanwhile_is_not_begun_again(tmp_path):
    from hpcnas.search import begin

    run = made_run(tmp_path / "run")
    before = tree(run.root)
    with pytest.raises(RunError, match="another job has begun this run meanwhile"):
        begin(run, configuration.Config(), None, b"", remember=lambda: None)
    assert tree(run.root) == before


def test_how_far_running_trials_have_come_survives_a_kill_and_is_gone_with_their_results(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    monkeypatch.setattr(desks, "_CURVES_EVERY_S", 0.0)
    desk = Desk(configuration.Config(), CORPUS, plan(run))
    first, second = (desk.coordinator.handle(Ready(group)).trial for group in range(2))
    assert desk.coordinator.handle(Progress(first.id, (0.25,))) is Verdict.CONTINUE
    desk.coordinator.handle(Progress(second.id, (0.5,)))
    desk.coordinator.handle(Progress(second.id, (0.5, 0.75)))
    desk.settle()
    assert running_file.load(run.search.running) == {first.id: (0.25,), second.id: (0.5, 0.75)}
    desk.coordinator.handle(Ready(0, completed(first.id, 0.9)))
    desk.commit()
    desk._journal._file.close()  # killed: the file is older than the journal
    desk = Desk(configuration.Config(), CORPUS, plan(run))
    desk.settle()
    assert desk._curves == {second.id: (0.5, 0.75)}, "that of a trial with a result is dropped"
    assert desk.coordinator.handle(Ready(0)).trial.id == second.id
    third = desk.coordinator.handle(Ready(0, completed(second.id, 0.9))).trial
    desk.coordinator.handle(Ready(0, completed(third.id, 0.9)))
    assert desk.close() == 0 and not run.search.running.exists()


def test_what_is_written_of_running_trials_takes_no_more_than_its_share(tmp_path, monkeypatch):
    clock, saved = [0.0], []
    monkeypatch.setattr(desks.time, "monotonic", lambda: clock[0])

    def slow(path: Path, curves) -> None:
        saved.append(clock[0])
        clock[0] += 0.5

    monkeypatch.setattr(desks.running_file, "save", slow)
    desk = Desk(configuration.Config(), CORPUS, plan(RunDir(tmp_path)))
    running = desk.coordinator.handle(Ready(0)).trial
    for epoch in range(1, 2000):
        desk.coordinator.handle(Progress(running.id, (0.5,) * epoch))
        desk.settle()
        clock[0] += 0.1
    assert len(saved) > 3 and 0.5 * len(saved) / clock[0] <= 0.03
    count = len(saved)
    clock[0] += 100
    desk.settle()
    clock[0] += 100
    desk.settle()
    assert len(saved) <= count + 1, "nothing new, nothing written"
