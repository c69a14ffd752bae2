"""What a model takes for keywords in audio without any, and that another one learns from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas import mine
from hpcnas.core.errors import DataError, RunError
from hpcnas.data import mined, negatives
from hpcnas.data.audio import RATE
from hpcnas.data.corpus import CorpusIndex, DataConfig
from hpcnas.data.mined import Mined, Window
from hpcnas.judging import mining
from hpcnas.judging.mining import loudest
from hpcnas.runtime.features import indexed
from hpcnas.runtime.together import SoloWorld
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

EMPTY = CorpusIndex(("yes",), {"train": (), "validation": (), "test": ()}, ())


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Tones in noise, so that something sounds like the keywords: 10 recordings for training, 2 others."""
    root = tmp_path_factory.mktemp("home")
    rng, time_s = np.random.default_rng(0), np.arange(8 * RATE) / RATE
    for number in range(12):
        tone = np.sin(2 * np.pi * (250 + 250 * number) * time_s) * (np.sin(np.pi * time_s) > 0)
        soundfile.write(root / f"{number:02d}.wav", 0.2 * tone + 0.02 * rng.standard_normal(len(tone)), RATE, subtype="PCM_16")
    (root / "validation_list.txt").write_text("10.wav\n")
    (root / "testing_list.txt").write_text("11.wav\n")
    return root


def in_home(home: Path, *more: str) -> list[str]:
    return [part for key in (f"data.negatives={json.dumps([str(home)])}", *more) for part in ("--set", key)]


def test_the_loudest_are_taken_and_none_twice():
    a, b = Path("a.wav"), Path("b.wav")
    given = [Window(a, 1.0, "yes", 0.5), Window(a, 1.4, "no", 0.9), Window(a, 1.9, "no", 0.4), Window(b, 1.4, "yes", 0.7)]
    assert [(one.path, one.score) for one in loudest(given, 9, 1.0)] == [(a, 0.9), (b, 0.7), (a, 0.4)]
    assert [one.score for one in loudest(given, 1, 1.0)] == [0.9]


def test_a_program_mines_the_training_part_and_another_run_learns_it(causal_run, home, tmp_path, capsys):
    out = tmp_path / "mined.json"
    mine.main([str(causal_run.root), "--model", "best", "--count", "20", "--out", str(out), *in_home(home)])
    found = mined.load(out)
    assert f"{len(found.windows)} window(s) of 0.02 h that run: best took for keywords, scores" in capsys.readouterr().out
    assert 5 < len(found.windows) <= 20 and found.hours == pytest.approx(80 / 3600)
    assert not {one.path.name for one in found.windows} & {"10.wav", "11.wav"}
    assert all(0 <= one.start_s <= 7 and one.keyword in ("low", "mid", "high") for one in found.windows)
    scores = [one.score for one in found.windows]
    assert scores == sorted(scores, reverse=True) and found == mined.load(out)
    config = configuration.load(causal_run.config, in_home(home, f"data.mined_negatives=[{json.dumps(str(out))}]")[1::2])
    plain, more = indexed(configuration.load(causal_run.config)), indexed(config)
    added = more.splits["train"][len(plain.splits["train"]) :]
    assert [(one.path, one.start_s) for one in added] == [(one.path, one.start_s) for one in found.windows]
    assert {more.class_names[one.label] for one in added} == {"_unknown_"}


def test_ranks_mine_and_evaluate_what_one_process_does(causal_run, home, tmp_path, mpirun):
    lists, told = {}, {}
    for ranks in (1, 3):
        lists[ranks] = tmp_path / f"{ranks}.json"
        done = mpirun(ranks, "hpcnas.mine", str(causal_run.root), "--model=best", "--out", str(lists[ranks]), *in_home(home))
        assert done.returncode == 0 and done.output.count("window(s) of 0.02 h") == 1, done.output
    for ranks in (1, 3):  # which keeps a temperature, so that it has to come behind
        judged = [str(causal_run.root), "--model=best", "--json", "--conditions", *in_home(home)]
        done = mpirun(ranks, "hpcnas.evaluate", *judged)
        assert done.returncode == 0, done.output
        told[ranks] = json.loads(done.output[done.output.index("{") :])
    assert mined.load(lists[1]).windows == mined.load(lists[3]).windows
    for key in ("classes", "confusion", "conditions"):
        assert told[1][key] == told[3][key]
    figures = {ranks: {name: of["value"] for name, of in told[ranks]["figures"].items()} for ranks in told}
    assert figures[1] == pytest.approx(figures[3]) and told[1]["hours_without_keywords"] == pytest.approx(8 / 3600)
    done = mpirun(3, "hpcnas.evaluate", str(causal_run.root), "--model=nobody")
    assert done.returncode == 2 and done.output.count("nobody") == 1, done.output
    done = mpirun(2, "hpcnas.evaluate", str(causal_run.root), "--split=all")
    assert done.returncode == 2 and done.output.count("invalid choice") == 1, done.output


def test_scores_are_those_of_detect_around_what_was_heard(causal_run, home):
    from hpcnas.use.classifier import Classifier
    from hpcnas.use.hearing import heard

    classifier = Classifier.open(causal_run, "best")
    config = configuration.load(causal_run.config, in_home(home, "data.mine_negatives=3")[1::2])
    found = mining.mine(SoloWorld(), classifier, "best", config, 3)
    parts = negatives.index(config.data, EMPTY, ())
    detections = []
    for one in parts["train"]:
        samples = soundfile.read(one.path, dtype="float32")[0]
        detections += [(d.score, one.path.name, d.time_s) for d in heard(classifier, samples, 0.01, config.spotting)]
    first, highest = found.windows[0], max(score for score, _, _ in detections)
    assert first.score == pytest.approx(highest, abs=2e-4)
    # Several may be as loud as each other.
    loudest_of_all = [(name, time_s) for score, name, time_s in detections if score > highest - 2e-4]
    starts_s = [min(max(0, time_s - 0.1 - 0.5), 7) for name, time_s in loudest_of_all if name == first.path.name]
    assert any(first.start_s == pytest.approx(start_s, abs=0.06) for start_s in starts_s)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path, fields: path.write_text("{"), r"mined\.json: cannot be read as a list of mined windows"),
        (lambda path, fields: path.write_text(json.dumps({**fields, "format": 9})), "has format 9, not 1"),
        (lambda path, fields: path.unlink(), r"mined\.json: cannot be read as a list of mined windows"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_line(tmp_path, spoil, told):
    path, recording = tmp_path / "mined.json", tmp_path / "a.wav"
    recording.touch()
    path.write_text(mined.as_text(Mined("best", 1, 1.0, (Window(recording, 0.5, "yes", 0.9),))))
    fields = json.loads(path.read_text())
    assert mined.load(path).windows[0].path == recording
    spoil(path, fields)
    with pytest.raises(DataError, match=told) as raised:
        mined.load(path)
    assert "\n" not in str(raised.value)


def test_windows_that_are_gone_or_for_tests_are_refused(tmp_path, home):
    parts = negatives.index(DataConfig(negatives=(str(home),)), EMPTY, ())
    path = tmp_path / "mined.json"
    of_test = Mined("best", 1, 1.0, (Window(home / "11.wav", 0.5, "yes", 0.9),))
    with pytest.raises(DataError, match=r"1 recording\(s\) are not in the training part of data\.negatives, first .*11\.wav"):
        mined.ensure_for_training(path, of_test, parts)
    path.write_text(mined.as_text(Mined("best", 1, 1.0, (Window(home / "99.wav", 0.5, "yes", 0.9),))))
    with pytest.raises(DataError, match=r"1 recording\(s\) are gone, first .*99\.wav; restore them, or mine anew"):
        mined.load(path)


def test_finals_learn_what_the_search_mined_and_a_resumed_stage_the_same(causal_run, home, tmp_path, mpirun):
    run = RunDir(shutil.copytree(causal_run.root, tmp_path / "run"))
    small = ["ensemble.finalists=1", "ensemble.challengers=0", "ensemble.epochs=1", "ensemble.members=1"]
    given = in_home(home, "data.mine_negatives=8", *small)
    done = mpirun(2, "hpcnas.ensemble", str(run.root), *given)
    assert done.returncode == 0 and "window(s) of 0.02 h that run: best took for keywords" in done.output, done.output
    written = run.ensemble.mined.read_bytes()
    assert 0 < len(mined.load(run.ensemble.mined).windows) <= 8
    trials = archive_of(run.ensemble.journal).results
    assert {result.steps for result in trials.values() if result.epochs == 1} == {-(-(24 + 8 + 4 + 8) // 8)}, (
        "an epoch has them"
    )
    run.ensemble.complete.unlink()
    done = mpirun(1, "hpcnas.ensemble", str(run.root), *given)
    assert done.returncode == 0 and "took for keywords" not in done.output, done.output
    assert run.ensemble.mined.read_bytes() == written
    run.ensemble.complete.unlink()
    done = mpirun(1, "hpcnas.ensemble", str(run.root), *in_home(home, "data.mine_negatives=9", *small))
    told = "was begun with data.mine_negatives = 8, now 9; give the same, or remove the folder to begin anew"
    assert done.returncode == 2 and told in done.output, done.output


def test_a_stage_that_began_without_them_goes_on_without(causal_run, home, tmp_path):
    run = RunDir(shutil.copytree(causal_run.root, tmp_path / "run"))
    run.ensemble.root.mkdir()
    run.ensemble.journal.touch()
    config = configuration.load(run.config, in_home(home, "data.mine_negatives=8")[1::2])
    with pytest.raises(RunError, match=r"was begun with data\.mine_negatives = 0, now 8"):
        mining.further(SoloWorld(), run, run.ensemble, config, "best")
