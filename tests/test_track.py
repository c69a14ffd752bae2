"""Runs in TensorBoard and MLflow."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import completed, trial

from hpcnas.core.trial import TrialState
from hpcnas.store import journal_reader
from hpcnas.store.journal import Journal
from hpcnas.store.run_dir import RunDir
from hpcnas.track import RETRIES, begin_s, main, news, records


@pytest.fixture
def run(tmp_path) -> RunDir:
    """Three trials; the second was paused and went on, the third failed."""
    run = RunDir(tmp_path / "run")
    run.create()
    run.config.write_text('seed = 0\n[training]\nepochs = 4\n[data]\nname = "builtin_kws"\n')
    journal, nan = Journal(run.search.journal), float("nan")
    paused = replace(completed(1, 0.5, curve=(0.3, 0.5)), state=TrialState.PAUSED)
    failed = replace(completed(2, nan, loss=nan), state=TrialState.FAILED, curve=(), error="loss not finite")
    events = [trial(0), completed(0, 0.6, curve=(0.4, 0.6)), trial(1, "gru:units=8", parent=0), paused, trial(2), failed]
    for number, event in enumerate([*events, completed(1, 0.9, curve=(0.3, 0.5, 0.8, 0.9))]):
        journal.append(event, 10.0 * number)
    journal.commit()
    return run


def test_news_tell_the_best_so_far_and_epochs_once(run):
    told = list(news(records(run, follow=False, every_s=0), begin=1000.0))
    assert [one.best for one in told] == [0.6, 0.6, 0.6, 0.9]
    assert [list(one.curve) for one in told] == [[(1, 0.4), (2, 0.6)], [(1, 0.3), (2, 0.5)], [], [(3, 0.8), (4, 0.9)]]
    assert [one.time_s for one in told] == [1010, 1030, 1050, 1060]
    assert [one.is_among_best for one in told] == [True, True, False, True]
    assert "score" not in told[2].series and told[2].series["best"] == 0.6


def test_a_running_search_is_followed_until_it_is_complete(run):
    journal = Journal(run.search.journal)

    def sleep(_: float) -> None:
        journal.append(trial(3), 70.0)
        journal.append(completed(3, 0.7), 80.0)
        journal.commit()
        run.search.complete.touch()

    told = list(news(records(run, follow=True, every_s=0, sleep=sleep), begin=0.0))
    assert [one.trial.id for one in told] == [0, 1, 2, 1, 3]


def test_tensorboard_shows_the_search_and_the_curves(run, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main([str(run.root), "--to", "tensorboard"])
    assert "4 results told to tensorboard" in capsys.readouterr().out
    folder = run.root / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {"search", "trial-000000", "trial-000001"}
    search, second = (EventAccumulator(str(folder / name)).Reload() for name in ("search", "trial-000001"))
    assert [(e.step, round(e.value, 6)) for e in search.Scalars("search/best")] == [(1, 0.6), (2, 0.6), (3, 0.6), (4, 0.9)]
    assert [e.step for e in second.Scalars("trial/score")] == [1, 2, 3, 4]
    assert search.Scalars("search/score")[0].wall_time == pytest.approx(begin_s(run) + 10)
    with pytest.raises(SystemExit):
        main([str(run.root), "--to", "tensorboard"])
    assert "is not empty" in capsys.readouterr().err


class StandIn:
    """What ``track`` asks of an MLflow client; ``test_mlflow_itself`` compares it with the real one."""

    def __init__(self, tracking_uri: str | None) -> None:
        self.runs: dict[str, dict] = {}

    def get_experiment_by_name(self, name: str):
        return None

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
        self.runs[run_name] = {"tags": tags, "params": {}, "metrics": {}, "status": "RUNNING"}
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_batch(self, run_id, metrics=(), params=()) -> None:
        assert len(metrics) <= 1000 and len(params) <= 100
        self.runs[run_id]["params"].update({p.key: p.value for p in params})
        for metric in metrics:
            self.runs[run_id]["metrics"].setdefault(metric.key, []).append((metric.step, metric.value))

    def set_tag(self, run_id, key, value) -> None:
        self.runs[run_id]["tags"][key] = value

    def set_terminated(self, run_id, status=None, end_time=None) -> None:
        self.runs[run_id]["status"] = status


EXPECTED = {
    "run": ("RUNNING", "best", [(1, 0.6), (2, 0.6), (3, 0.6), (4, 0.9)], ("training.epochs", "4")),
    "trial 0": ("FINISHED", "score", [(1, 0.4), (2, 0.6)], ("architecture", "dense:units=8")),
    "trial 1": ("FINISHED", "score", [(1, 0.3), (2, 0.5), (3, 0.8), (4, 0.9)], ("parent", "0")),
    "trial 2": ("FAILED", "params", [(2, 100.0)], ("mutation", "start")),
}
"""Of each MLflow run: status, a metric's history, and one of its parameters."""


def test_mlflow_gets_a_run_for_the_search_and_one_for_each_trial(run, monkeypatch):
    clients: list[StandIn] = []
    entities = SimpleNamespace(
        Param=lambda key, value: SimpleNamespace(key=key, value=value),
        Metric=lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step),
    )
    exceptions = SimpleNamespace(MlflowException=RuntimeError)
    module = SimpleNamespace(
        exceptions=exceptions, MlflowClient=lambda tracking_uri: clients.append(StandIn(tracking_uri)) or clients[-1]
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    main([str(run.root), "--to", "mlflow"])
    assert clients[0].runs.keys() == EXPECTED.keys()
    for name, (status, metric, history, (key, value)) in EXPECTED.items():
        one = clients[0].runs[name]
        assert (one["status"], one["metrics"][metric], one["params"][key]) == (status, history, value)
    assert clients[0].runs["trial 2"]["tags"] == {"mlflow.parentRunId": "run", "hpcnas.state": "failed"}


def test_mlflow_itself(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="no MLflow here: pip install 'hpcnas[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = (tmp_path / "mlruns").as_uri()
    main([str(run.root), "--to", "mlflow", "--place", place])
    client = mlflow.MlflowClient(tracking_uri=place)
    found = client.search_runs([client.get_experiment_by_name("hpcnas").experiment_id])
    assert {one.info.run_name for one in found} == EXPECTED.keys()
    for one in found:
        status, metric, history, (key, value) = EXPECTED[one.info.run_name]
        told = [(m.step, m.value) for m in client.get_metric_history(one.info.run_id, metric)]
        assert (one.info.status, told, one.data.params[key]) == (status, history, value)


def test_a_server_that_is_not_there_is_one_line_within_seconds(run, capsys, monkeypatch):
    pytest.importorskip("mlflow", reason="no MLflow here: pip install 'hpcnas[mlflow]'")
    with socket.socket() as taken:  # a port that nobody listens on
        taken.bind(("127.0.0.1", 0))
        place, begin_s = f"http://127.0.0.1:{taken.getsockname()[1]}", time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main([str(run.root), "--to", "mlflow", "--place", place])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.startswith(f"ExportError: {place}: ") and err.count("\n") == 1, err
    assert time.monotonic() - begin_s < 30 and RETRIES not in os.environ


def test_a_server_that_goes_away_is_one_line_with_what_it_has(run, monkeypatch, capsys):
    class Gone(StandIn):
        def set_terminated(self, run_id, status=None, end_time=None) -> None:
            if run_id == "trial 1":
                raise ValueError("connection refused\nTraceback")

    module = SimpleNamespace(MlflowClient=Gone, exceptions=SimpleNamespace(MlflowException=ValueError))
    make = lambda *values, **named: SimpleNamespace(key=values[0], value=values[1], step=values[-1])  # noqa: E731
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Param=make, Metric=make))
    with pytest.raises(SystemExit) as ended:
        main([str(run.root), "--to", "mlflow", "--place", "http://there"])
    said = "http://there: connection refused Traceback; 2 trials are there; see --place"
    assert ended.value.code == 2 and capsys.readouterr().err == f"ExportError: {said}\n"


def test_every_event_is_read_once_however_often_the_journal_is_looked_at(run, monkeypatch):
    journal, read = Journal(run.search.journal), []
    parse = journal_reader.parse
    monkeypatch.setattr(journal_reader, "parse", lambda line, path, number: read.append(number) or parse(line, path, number))

    def sleep(_: float) -> None:
        journal.append(trial(len(read)), 70.0)
        journal.commit()
        if len(read) > 10:
            run.search.complete.touch()

    found = list(records(run, follow=True, every_s=0, sleep=sleep))
    assert len(found) == len(read) == 12 and read == list(range(1, 13))


@pytest.mark.parametrize("every", ["nan", "inf", "-1", "0", "soon"])
def test_a_pause_that_is_none_is_refused(run, every, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(run.root), "--to", "tensorboard", "--every", every])
    assert ended.value.code == 2 and "argument --every: " in capsys.readouterr().err


def test_without_the_package_the_way_to_get_it_is_told(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SystemExit) as ended:
        main([str(run.root), "--to", "mlflow"])
    assert ended.value.code == 2 and "pip install 'hpcnas[mlflow]'" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--to", "tensorboard"])
    assert "holds no run" in capsys.readouterr().err
