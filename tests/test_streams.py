"""Misses at so many false alarms an hour as the objective of a search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas.core import false_alarms
from hpcnas.core.spotting import SpottingConfig
from hpcnas.core.streams import Stream
from hpcnas.data.audio import RATE
from hpcnas.runtime import streams
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

CONFIG = SpottingConfig(hop_s=0.5, refractory_s=0.75, false_alarms_per_hour=1.0)


def logits_of(scores: list[float]) -> np.ndarray:
    """(N, 2) whose first class, a keyword, has these probabilities."""
    p = np.array(scores)
    return np.log(np.stack([p, 1 - p], 1))


def stream(windows: int, hours: float, recordings: int = 1) -> Stream:
    of = np.repeat(np.arange(recordings), windows // recordings)
    times_s = 0.5 * np.arange(len(of)) - 0.5 * of * (windows // recordings) + 0.5
    return Stream(of, times_s, hours, [0], CONFIG)


def test_a_keyword_is_heard_if_it_is_louder_than_the_first_false_alarm_too_many():
    scores, labels = logits_of([0.95, 0.85, 0.7, 0.2, 0.1]), np.array([0, 0, 0, 0, 1])
    alarms = [0.0, 0.9, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0]
    for hours, share in ((0.5, 0.25), (1.0, 0.5), (2.0, 0.75), (3.0, 1.0)):
        found = stream(12, hours).heard_share(scores, labels, logits_of([max(a, 1e-9) for a in alarms]))
        assert found == pytest.approx(share), f"{int(hours)} alarm(s) may pass"


def test_windows_that_overlap_are_one_alarm_but_not_across_recordings():
    scores, labels = logits_of([0.85]), np.array([0])
    alarms = logits_of([1e-9, 0.9, 0.88, 1e-9])
    assert stream(4, 1.0).heard_share(scores, labels, alarms) == 1.0
    assert stream(4, 1.0, recordings=2).heard_share(scores, labels, alarms) == 0.0


@pytest.fixture
def home(tmp_path) -> Path:
    root = tmp_path / "home"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(root / f"{number}.wav", 0.1 * rng.standard_normal(round(4.2 * RATE)), RATE, subtype="PCM_16")
    (root / "validation_list.txt").write_text("0.wav\n1.wav\n")
    (root / "testing_list.txt").write_text("2.wav\n")
    return root


def test_windows_cover_the_validation_part(tones, home, tmp_path, monkeypatch):
    monkeypatch.setattr(false_alarms, "LEAST_ALARMS", 0.001)
    given = [
        "data.name=speech_commands",
        f"data.path={tones}",
        'data.keywords=["low", "mid", "high"]',
        "data.unknown_percent=100",
    ]
    given += [f"data.negatives={json.dumps([str(home)])}", f"data.cache={tmp_path / 'cache'}", "search.objective=misses_at_fa"]
    config = configuration.load(None, given)
    corpus = load_corpus(SoloWorld(), config)
    found = streams.long_audio(SoloWorld(), config, corpus)
    assert len(found.windows) == 14 and found.stream.hours == pytest.approx(8.4 / 3600)
    assert found.stream.times_s.tolist() == 2 * [0.5 + 0.5 * n for n in range(7)]
    assert found.stream.recordings_S.tolist() == 7 * [0] + 7 * [1] and found.stream.keywords == [0, 1, 2]
    monkeypatch.undo()
    with pytest.raises(
        configuration.ConfigError, match=r"has 0\.00 h, which cannot tell spotting\.false_alarms_per_hour = 1; 3 h"
    ):
        streams.long_audio(SoloWorld(), config, corpus)
    none = replace(config, data=replace(config.data, negatives=()))
    with pytest.raises(configuration.ConfigError, match=r"needs audio without keywords; name some in data\.negatives"):
        streams.long_audio(SoloWorld(), none, corpus)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_search_maximises_it(ranks, tiny, home, tmp_path, mpirun):
    run = RunDir(tmp_path / "run")
    keys = ["search.objective=misses_at_fa", f"data.negatives={json.dumps([str(home)])}", "search.max_trials=2"]
    keys += ["spotting.false_alarms_per_hour=2000", "training.epochs=3"]
    keys += ["search.group_size=2"] if ranks == 3 else []
    done = mpirun(ranks, "hpcnas.search", *tiny, *(part for key in keys for part in ("--set", key)), "--run", str(run.root))
    assert done.returncode == 0 and "misses_at_fa=" in done.output, done.output
    results = archive_of(run.search.journal).results
    assert len(results) == 2 and all(0 <= share <= 1 for result in results.values() for share in result.curve)


def test_what_the_score_is_of_may_not_change():
    keys = ["data.negatives=home", "search.objective=misses_at_fa"]
    before = configuration.load(None, keys)
    for change in ("data.negatives=street", "spotting.false_alarms_per_hour=2"):
        assert configuration.differences(before, configuration.load(None, [*keys, change]))
        assert not configuration.differences(*(configuration.load(None, [*keys[:1], *more]) for more in ([], [change])))
    with pytest.raises(configuration.ConfigError, match=r'search\.objective = "misses_at_fa": is of single models; combiner'):
        configuration.load(None, [*keys, "combiner.name=residual"])
