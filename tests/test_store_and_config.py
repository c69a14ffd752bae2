import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import completed, trial

from hpcnas import config as configuration
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.core.trial import Cost, Proposal, TrialState, unscored
from hpcnas.store.files import replacing
from hpcnas.store.journal import Journal, decode, encode, replay


def test_a_journal_gives_back_what_was_appended_and_drops_a_torn_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    events = [trial(0), completed(0, 0.5), trial(1, "gru:layers=1,units=4", parent=0)]
    journal = Journal(path)
    for event in events:
        journal.append(event, elapsed=1.0)
    journal.commit()
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert [r.event for r in replay(path)] == events[:2]


KILLED = """
import os, signal, sys
from pathlib import Path
from helpers import completed, trial
from hpcnas.store.journal import Journal

journal = Journal(Path(sys.argv[1]))
journal.append(trial(0), 0.0)
journal.append(completed(0, 0.5), 1.0)
journal.commit()
journal.append(trial(1), 2.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_survives_a_kill_before_it_is_on_disk(tmp_path):
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    )
    assert done.returncode == -signal.SIGKILL and [r.event for r in replay(path)] == [trial(0), completed(0, 0.5)]


def test_a_torn_line_is_cut_off_before_the_next_one(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"half')
    journal = Journal(path)
    journal.append(trial(0), 0.0)
    journal.commit()
    assert [r.event for r in replay(path)] == [trial(0)]


def test_nothing_is_written_to_a_journal_that_was_removed(tmp_path):
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    journal.append(trial(0), 0.0)
    journal.sync()
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    journal.append(completed(0, 0.5), 1.0)
    with pytest.raises(RunError, match="was removed or replaced"):
        journal.sync()


def test_a_torn_line_of_any_length_is_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    for whole, torn in ((b"", 200_000), (b"{}\n", 65_536), (b"{}\n" * 50_000, 65_535), (b"\n", 0), (b"", 0)):
        path.write_bytes(whole + torn * b"x")
        Journal(path)
        assert path.read_bytes() == whole


def test_one_run_has_one_writer(tmp_path):
    first = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(RunError, match="another program is writing"):
        Journal(first.path)


def test_a_failed_result_survives_the_journal():
    result = decode(encode(unscored(trial(0), TrialState.FAILED, Cost(1, 2, 3), "no")))
    assert result.error == "no" and result.score != result.score


def test_a_role_survives_the_journal_and_early_lines_say_it_as_a_mutation():
    control = replace(trial(0), proposal=Proposal(trial(0).architecture, None, "control", role="control"))
    fields = encode(control)
    assert decode(dict(fields)) == control
    del fields["role"]
    assert decode(fields) == control
    assert "role" not in encode(trial(1)) and decode(encode(trial(1))) == trial(1)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "jobs").glob("*.toml")), ids=lambda path: path.name)
def test_every_job_file_is_a_configuration(path):
    assert configuration.load(path) != configuration.Config()


def test_a_configuration_survives_being_written(tmp_path):
    config = configuration.load(None, ["seed=3", "strategy.beam=2", "stopping.name=median", "data.keywords=['a','b']"])
    (tmp_path / "c.toml").write_text(configuration.dump(config))
    assert configuration.load(tmp_path / "c.toml") == config
    assert configuration.differences(config, configuration.load(tmp_path / "c.toml", ["search.max_trials=7"])) == []
    assert configuration.differences(config, configuration.load(tmp_path / "c.toml", ["seed=4"])) == ["seed = 3, now 4"]
    fewer = configuration.load(tmp_path / "c.toml", ["search.score_examples=7"])
    assert configuration.differences(config, fewer) == ["search.score_examples = 0, now 7"], "scores would not compare"


@pytest.mark.parametrize(
    "override", ["training.epochs=two", "strategy.name=magic", "training=3", "nonsense", "data.name=x", "seed=-1"]
)
def test_overrides_that_cannot_work_are_refused(override):
    with pytest.raises(ConfigError):
        configuration.load(None, [override])


def test_a_stage_goes_on_with_the_settings_it_was_begun_with(tmp_path):
    path = tmp_path / "ensemble" / "settings.toml"
    configuration.remember(path, configuration.EnsembleConfig(epochs=100), "ensemble")
    configuration.remember(path, configuration.EnsembleConfig(epochs=100), "ensemble")
    with pytest.raises(RunError, match="epochs = 100, now 20"):
        configuration.remember(path, configuration.EnsembleConfig(), "ensemble")


def test_a_search_for_ensembles_cannot_go_on_as_another_one():
    average, adaptive = (configuration.load(None, [f"combiner.name={name}"]) for name in ("average", "adaptive"))
    greedy = configuration.load(None, ["combiner.name=greedy"])
    assert configuration.differences(average, greedy) == []
    assert any("combiner.name" in change for change in configuration.differences(average, adaptive))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ['search.suggestions=["dense:units=8", "dense:units=16"]', "search.max_trials=1"],
            "search.max_trials = 1: less than the 2 of search.suggestions",
        ),
        (
            ["strategy.name=constrained", "strategy.cells=3", "space.max_depth=8"],
            "space.max_depth = 8: strategy.cells = 3 of strategy.cell = 2 are 9 blocks",
        ),
    ],
)
def test_parts_that_leave_each_other_no_room_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        configuration.load(None, overrides)
