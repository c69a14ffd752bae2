"""What the tools compute, on made-up runs."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import pytest
from helpers import completed, made_run, trial, write
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.analysis import comparison, printing, ranked, summary
from hpcnas.analysis.effects import brought_in, changed, in_tower
from hpcnas.analysis.lineage import chosen, descent, drawn
from hpcnas.analysis.live import Watcher
from hpcnas.analysis.printing import Listing
from hpcnas.analysis.trials import ConfiguredRun, front, ranking
from hpcnas.analysis.where import where
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import QueryError, RunError
from hpcnas.core.pareto import pareto_front
from hpcnas.store import archive_file, running_file
from hpcnas.store.journal import Journal, replay
from hpcnas.store.journal_reader import Tail, last


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ConfiguredRun:
    return ConfiguredRun.open(made_run(tmp_path_factory.mktemp("made") / "run").root)


def test_columns_are_the_same_from_the_snapshot_and_from_the_journal(run, tmp_path):
    fast, slow = run.columns(), archive_file.columns(run.archive())
    for name, values in fast.items():
        assert values.dtype == slow[name].dtype and all(a == b or a != a for a, b in zip(values, slow[name])), name


def test_a_snapshot_that_is_behind_is_left_for_the_journal(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    journal = Journal(run.dir.search.journal)
    write(journal, trial(12), 200.0)
    assert run.columns(["state"])["state"][-1] == "running"
    write(journal, completed(12, 0.7), 210.0)
    assert run.columns(["score"])["score"][-1] == 0.7


def test_a_damaged_line_amid_the_journal_is_told_by_all_alike_though_the_snapshot_has_what_it_said(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    lines = run.dir.search.journal.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        for damage in (b"x" + lines[number][1:], lines[number].replace(b":", b";", 3), lines[number][:-3] + b"]\n", b"\n"):
            run.dir.search.journal.write_bytes(b"".join([*lines[:number], damage, *lines[number + 1 :]]))
            said = set()
            for read in (run.columns, run.archive, Watcher(run).look, lambda: summary.summarise(run)):
                with pytest.raises(RunError, match=rf"journal.jsonl, line {number + 1}: damaged") as error:
                    read()
                said.add(str(error.value))
            assert len(said) == 1
    run.dir.search.journal.write_bytes(b"".join(lines) + b'{"torn')
    assert len(run.columns()["id"]) == 12


def test_lines_from_before_there_were_checksums_are_read(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    lines = run.dir.search.journal.read_bytes().splitlines()
    run.dir.search.journal.write_bytes(b"".join(line.rpartition(b', "crc32"')[0] + b"}\n" for line in lines))
    assert len(run.columns()["id"]) == 12 and len(run.records()) == len(lines)


def test_a_watcher_sees_how_far_running_trials_have_come(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    write(Journal(run.dir.search.journal), trial(12), 200.0)
    watcher = Watcher(run)
    assert [tuple(one.curve) for one in watcher.look().running] == [()]
    running_file.save(run.dir.search.running, {12: (0.25, 0.5)})
    assert [tuple(one.curve) for one in watcher.look().running] == [(0.25, 0.5)]
    run.dir.search.running.write_text('{"format": 1, "curves": {"12": [0.2')
    with pytest.raises(RunError, match=r"running.json: cannot be read .* remove it"):
        watcher.look()


def test_a_damaged_snapshot_is_said_and_the_journal_read(tmp_path, capsys):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    run.dir.archive.write_bytes(run.dir.archive.read_bytes()[:5000])
    assert len(run.columns()["id"]) == 12
    assert "verify.py --repair" in capsys.readouterr().err


def test_another_format_says_what_to_do(run, tmp_path, monkeypatch):
    path = tmp_path / "archive.h5"
    monkeypatch.setattr(archive_file, "FORMAT", 99)
    archive_file.save(path, run.archive())
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"format 99, not 1; tools/verify.py --repair"):
        archive_file.load(path)


def test_an_early_file_without_later_columns_opens(run, tmp_path, monkeypatch):
    path = tmp_path / "archive.h5"
    early = {name: column for name, column in archive_file.COLUMNS.items() if name not in archive_file.LATER}
    with monkeypatch.context() as patch:
        patch.setattr(archive_file, "COLUMNS", early)
        patch.setattr(archive_file.columns, "__defaults__", (tuple(early),))
        archive_file.save(path, run.archive())
    assert set(archive_file.load(path, ["settings"])["settings"]) == {""}


def test_ranks_are_the_journals_where_an_early_file_does_not_tell_them(tmp_path, monkeypatch):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    expected = run.columns(["id", "merit"])
    assert np.isfinite(expected["merit"]).any()
    early = {name: column for name, column in archive_file.COLUMNS.items() if name != "merit"}
    with monkeypatch.context() as patch:
        patch.setattr(archive_file, "COLUMNS", early)
        patch.setattr(archive_file.columns, "__defaults__", (tuple(early),))
        archive_file.save(run.dir.archive, run.archive())
    np.testing.assert_array_equal(run.columns(["id", "merit"])["merit"], expected["merit"])


def test_ranking_and_front_are_those_of_the_search(run):
    columns, archive = run.columns(), run.archive()
    assert columns["id"][ranking(columns)].tolist() == [r.trial for r in archive.ranking]
    assert columns["id"][front(columns)].tolist() == [r.trial for r in pareto_front(archive.ranking)]


def test_a_summary_adds_up(run):
    one = summary.summarise(run)
    assert one.states == {"completed": 10, "stopped": 0, "paused": 1, "infeasible": 0, "failed": 1, "running": 0}
    assert one.steps == 10 * 20 + 10 and one.elapsed_s == pytest.approx(119.9) and one.is_complete
    assert 0.8 < one.busy_share < 1 and one.groups == 1
    assert one.best[0] == run.archive().ranking[0].trial


COLUMNS = {
    "id": np.arange(4),
    "score": np.array([0.1, 0.2, np.nan, 0.4]),
    "params": np.array([100, 1000, -1, 100_000]),
    "parent": np.array([-1, 0, 0, 1]),
    "state": np.array(["completed", "paused", "failed", "completed"], object),
}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("params<100k", [0, 1]),
        ("params <= 0.1M and score>10%", [1, 3]),
        ("not params<1k", [1, 2, 3]),
        ("state=failed or (score>0.3 and state!=paused)", [2, 3]),
        ("state~pa", [1]),
        ("state !~ 'ed'", []),
        ("parent=-1", [0]),
        ('state = "completed"', [0, 3]),
        ("score!=0.1", [1, 3]),
    ],
)
def test_filters_admit(text, rows):
    assert np.flatnonzero(where(text, COLUMNS)).tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parms<1", "unknown column"),
        ("params<", "expected column"),
        ("params<many", '"many" is none'),
        ("state<3", "state is text"),
        ("params~3", "params is a figure"),
        ("(params<3", "a bracket is not closed"),
        ("params<3 score>1", "join comparisons"),
        ("__import__('os')", "not understood|cannot be read|unknown column|expected"),
        ("params < 'x", "cannot be read"),
    ],
)
def test_filters_that_cannot_be_read_are_refused(text, message):
    with pytest.raises(QueryError, match=message):
        where(text, COLUMNS)


@given(st.text(alphabet="params<>=~!()andorkM1. \"'", max_size=20))
def test_a_filter_is_read_or_refused_whatever_it_says(text):
    with contextlib.suppress(QueryError):
        assert where(text, COLUMNS).shape == (4,)


def test_sorting_puts_what_is_not_known_last():
    columns = {**COLUMNS, "loss": -COLUMNS["score"], "merit": COLUMNS["score"]}
    assert ranked.best(columns, "params").tolist() == [0, 1, 3, 2]
    assert ranked.best(columns, "-params", k=2).tolist() == [3, 1]
    assert ranked.best(columns).tolist() == [3, 1, 0]
    assert ranked.best(columns, "state").tolist()[-1] == 1


def test_listings_have_three_spellings(capsys):
    listing = Listing("a", ("id", "score", "text"), [(np.int64(1), np.float64("nan"), "[x]"), (2, 0.5, "y")])
    printing.show([listing], "json")
    assert json.loads(capsys.readouterr().out) == {
        "a": [{"id": 1, "score": None, "text": "[x]"}, {"id": 2, "score": 0.5, "text": "y"}]
    }
    printing.show([listing], "csv")
    assert capsys.readouterr().out == "id,score,text\n1,,[x]\n2,0.5,y\n"
    printing.show([listing])
    out = capsys.readouterr().out
    assert "[x]" in out and "0.5000" in out and "nan" not in out


def test_a_tail_gives_every_event_once_and_leaves_half_a_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    journal = Journal(path)
    write(journal, trial(0), 1.0)
    assert [r.event.id for r in tail.read()] == [0] and tail.read() == []
    whole = path.read_bytes()
    with open(path, "ab") as file:
        file.write(whole.rstrip()[:20])
        file.flush()
        assert tail.read() == []
        file.write(whole.rstrip()[20:] + b"\n")
    assert len(tail.read()) == 1 and tail.lines == 2
    path.write_bytes(b"")
    with pytest.raises(RunError, match="has become shorter"):
        tail.read()


def test_the_last_event_is_found_without_reading_all(tmp_path, run):
    assert last(run.dir.search.journal) == replay(run.dir.search.journal)[-1]
    path = tmp_path / "journal.jsonl"
    assert last(path) is None
    path.write_bytes(b'{"torn')
    assert last(path) is None
    long = trial(1, "/".join(["dense:units=8"] * 20_000))
    write(Journal(path), trial(0), 0.0)
    write(Journal(path), long, 1.0)
    assert last(path).event == long


def test_a_lineage_goes_from_the_first_architecture_to_the_trial(run):
    archive = run.archive()
    line = descent(archive, chosen(archive, "best").id)
    assert [step.trial for step in line] == [t.id for t in archive.lineage(archive.best()[0].id)]
    assert line[0].change == line[0].architecture and all("+" in step.change for step in line[1:])
    text = drawn(line)
    assert text.count("●") == len(line) and f"trial {line[-1].trial}: {line[-1].score:.4f}" in text
    for name in ("12", "worst", "-1"):
        with pytest.raises(QueryError, match="known: 0 to 11, or best"):
            chosen(archive, name)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a/b/c", "a/x/c", "1 b x"),
        ("a/b", "a/b/c", "2  c"),
        ("a/b/c", "b/c", "0 a "),
        ("a/a", "a/a/a", "2  a"),
        ("a/b", "c/d/e", "0 a/b c/d/e"),
        ("a/b", "a/b", "2  "),
    ],
)
def test_a_change_is_the_shortest_stretch(before, after, expected):
    start, gone, new = changed(Architecture.parse(before), Architecture.parse(after))
    assert f"{start} {'/'.join(map(str, gone))} {'/'.join(map(str, new))}" == expected


def searched(gain_of: dict[str, float], trials: int = 120) -> Archive:
    """Children of trial 0 by one block on top, whose kind decides what is gained."""
    rng = np.random.default_rng(0)
    archive = Archive([trial(0, "a"), completed(0, 0.5)])
    for id_ in range(1, trials):
        kind = list(gain_of)[id_ % len(gain_of)]
        archive.add(trial(id_, f"a/{kind}", parent=0))
        archive.add(completed(id_, 0.5 + gain_of[kind] + 0.01 * rng.standard_normal()))
    return archive


@pytest.mark.parametrize("effects", [brought_in, in_tower])
def test_the_block_that_helps_is_found_and_the_others_are_not(effects):
    best, *others = effects(searched({"good": 0.05, "plain": 0.0, "other": 0.0}), "kind")
    assert best.part == "good" and best.low > 0.04 and best.high < 0.06 and best.trials in (39, 40)
    assert all(one.effect < 0 for one in others if one.part in ("plain", "other"))


def test_intervals_hold_zero_where_nothing_helps():
    for one in brought_in(searched({"x": 0.0, "y": 0.0}), "place"):
        assert one.low < 0 < one.high and one.part in ("x at 1", "y at 1")
    assert {one.part for one in brought_in(searched({"x": 0.0, "y": 0.1}), "position")} == set(), "all are at one position"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[ConfiguredRun]:
    root = tmp_path_factory.mktemp("runs")
    kinds = (("random", 0.5), ("incremental", 0.6))
    return [
        ConfiguredRun.open(made_run(root / f"{name}-{seed}", seed=seed, scores=level, strategy=name).root)
        for name, level in kinds
        for seed in (0, 1, 2)
    ]


def test_runs_that_differ_by_seed_are_one_group_and_the_better_one_comes_first(runs):
    compared = comparison.courses(runs)
    end = comparison.common_end(compared, "steps")
    first, second = comparison.standings(compared, "steps", end, target=0.7)
    assert (first.group, first.runs, second.group) == ("strategy=incremental", 3, "strategy=random")
    assert first.low < first.worst <= first.mean <= first.best < first.high and first.mean > second.mean + 0.05
    assert first.until < second.until and first.reached == 3
    ((better, worse, difference, p),) = comparison.pairs(compared, "steps", end)
    assert (better, worse) == (first.group, second.group) and difference > 0.05 and p == pytest.approx(0.1)


def test_a_course_never_falls_and_counts_a_paused_trial_once(runs):
    one = comparison.course(runs[0])
    assert (np.diff(one.best) >= 0).all() and all((np.diff(x) > 0).all() for x in one.axes.values())
    assert one.end("trials") == 12 and one.end("steps") == 210
    assert np.isnan(one.at("steps", 5)) and one.at("steps", 1e9) == one.best[-1]
    assert np.isnan(one.until("time", 1.0))
    for _, _, mean, low, high in comparison.bands(comparison.courses(runs), "time", points=7):
        assert low <= mean <= high


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    with pytest.raises(QueryError, match="no run has the key"):
        comparison.courses(runs, ["strategy.nam"])
    other = made_run(tmp_path / "run")
    other.config.write_text(other.config.read_text().replace('objective = "accuracy"', 'objective = "macro_f1"'))
    with pytest.raises(QueryError, match="scores cannot be compared: accuracy, macro_f1"):
        comparison.courses([runs[0], ConfiguredRun.open(other.root)])


def test_a_watcher_follows_a_search_and_reads_every_byte_once(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    run.dir.search.complete.unlink()
    lines = run.dir.search.journal.read_bytes().splitlines(keepends=True)
    run.dir.search.journal.unlink()
    now = [1000.0]
    watcher = Watcher(run, clock=lambda: now[0])
    empty = watcher.look()
    assert (empty.trials, empty.best, empty.running, empty.end_in_s == empty.end_in_s) == (0, None, [], False)
    for number, line in enumerate(lines, 1):
        with open(run.dir.search.journal, "ab") as file:
            file.write(line)
        os.utime(run.dir.search.journal, (now[0], now[0]))
        look = watcher.look()
        assert look.trials == number // 2 and len(look.running) == number % 2
    assert look.best[1] == run.archive().ranking[0] and look.steps == 210
    (group,) = look.groups
    assert group.trials == 11 and 9 < group.trained_s / 11 < 10 and look.recent[0][0].id == 11
    now[0] += 30
    later = watcher.look()
    assert later.quiet_s == pytest.approx(30) and later.elapsed_s == pytest.approx(look.elapsed_s + 30)
    assert later.of_trials == 12 and later.end_in_s == 0 and later.limit == "max_trials"
    run.dir.search.complete.touch()
    assert watcher.look().elapsed_s == pytest.approx(119.9)


def test_the_end_is_estimated_from_the_recent_pace(tmp_path):
    run = ConfiguredRun.open(made_run(tmp_path / "run").root)
    run.dir.search.complete.unlink()
    run.config["search"]["max_trials"] = 24
    look = Watcher(run).look()
    assert look.per_minute == pytest.approx(6, rel=0.2) and look.end_in_s == pytest.approx(120, rel=0.2)
    run.config["search"]["time_limit"] = 150.0
    assert Watcher(run).look().limit == "time_limit"
