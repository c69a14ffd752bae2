"""What runs are made with is written down, and who compares runs that differ in it is told."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from helpers import made_run

from hpcnas import report
from hpcnas.analysis.circumstances import MATTERS, difference
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.corpus_identity import MEMBER, CorpusIdentity
from hpcnas.runtime import environment
from hpcnas.runtime.roles import Roles
from hpcnas.store import corpus_file

COMPARE = str(Path(__file__).parents[1] / "tools" / "compare.py")


@pytest.fixture
def runs(tmp_path) -> list[ConfiguredRun]:
    runs = [ConfiguredRun.open(made_run(tmp_path / name, seed=seed).root) for seed, name in enumerate(("a", "b", "c"))]
    for run in runs:
        environment.record_environment(run.dir.environment, Roles(3, 2), "ddp")
    return runs


def amend(run: ConfiguredRun, **facts) -> None:
    known = json.loads(run.dir.environment.read_text())
    known["versions"].update(facts.pop("versions", {}))
    run.dir.environment.write_text(json.dumps({**known, **facts}))


def test_all_that_matters_is_recorded(runs):
    facts = json.loads(runs[0].dir.environment.read_text())
    for keys in MATTERS.values():
        value = facts
        for key in keys:
            value = value[key]
        assert value not in ("", None)
    assert facts["ranks"] == 3 and facts["group_size"] == 2 and facts["threads"] >= 1


def test_a_job_on_another_machine_adds_to_what_is_recorded(tmp_path, monkeypatch):
    path = tmp_path / "environment.json"
    for ranks in (3, 3, 5, 3):
        environment.record_environment(path, Roles(ranks, 1), "ddp")
    facts = json.loads(path.read_text())
    assert facts["ranks"] == 3 and [one["ranks"] for one in facts["earlier"]] == [5]
    path.write_text("damaged")
    environment.record_environment(path, Roles(2, 1), "ddp")
    assert json.loads(path.read_text())["ranks"] == 2


def test_the_cpu_is_told_by_name_and_numbers(tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n"
    )
    assert environment.cpu_model(tmp_path / "cpuinfo") == "AMD EPYC (family 25, model 1)"
    assert environment.cpu_model(tmp_path / "absent")


def test_runs_made_alike_are_not_marked(runs):
    assert difference(runs) == "" and difference(runs[:1]) == ""


def test_runs_that_nothing_is_recorded_of_are_not_marked(tmp_path):
    assert difference([ConfiguredRun.open(made_run(tmp_path / name).root) for name in "ab"]) == ""


def test_what_differs_is_told_with_the_runs(runs):
    amend(runs[1], threads=8, versions={"torch": "2.4.0"})
    runs[2].dir.environment.unlink()
    told = difference(runs)
    assert told.startswith("not made alike") and "\n" not in told
    assert "2.4.0 (b); not recorded (c)" in told and "(a); 8 (b); not recorded (c)" in told and "CPU" in told


def test_a_run_of_several_jobs_counts_with_all_of_them(runs):
    amend(runs[0], earlier=[{"ranks": 64}])
    assert "ranks 64 then 3 (a); 3 (b, c)" in difference(runs)


def test_other_recordings_under_one_configuration_are_told(runs):
    for size, run in enumerate(runs[:2]):
        members = np.array([(1, 0, 0, 10), (2, 1, 0, 10 + size), (3, 2, 0, 10)], MEMBER)
        corpus_file.save(run.dir.search.corpus, CorpusIdentity(("x",), (), {}, members, {}))
    told = difference(runs[:2])
    assert "recordings" in told and told.count("validated on") == 2


def test_the_comparison_and_the_report_are_marked(runs, capsys):
    compare = runpy.run_path(COMPARE)["main"]
    paths = [str(run.dir.root) for run in runs[:2]]
    compare(paths)
    assert "not made alike" not in capsys.readouterr().out
    amend(runs[1], cpu="another")
    compare(paths)
    assert "not made alike" in " ".join(capsys.readouterr().out.split())
    compare([*paths, "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out) and "note: not made alike" in err
    report.main([paths[0], "--against", paths[1]])
    assert "not made alike" in " ".join(capsys.readouterr().out.split())
    assert "Not made alike, so that one seed" in runs[0].dir.report.read_text()
