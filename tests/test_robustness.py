"""``evaluate --conditions``, and the groups of a test split."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import evaluate
from hpcnas.core import worst
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import groups, surroundings
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.judging.robustness import Asked, conditions_of
from hpcnas.runtime.features import indexed
from hpcnas.runtime.together import SoloWorld
from hpcnas.use.classifier import Classifier


@pytest.fixture(scope="module")
def noises(tmp_path_factory) -> Path:
    """Loud tones of the words' own frequencies, which no model hears through, and white noise."""
    folder = tmp_path_factory.mktemp("sounds") / "noises"
    folder.mkdir()
    for number in range(24):
        soundfile.write(folder / f"{number:02d}.wav", 0.3 * np.random.default_rng(number).standard_normal(16000), 16000)
    return folder


@pytest.fixture(scope="module")
def halls(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sounds") / "halls"
    folder.mkdir()
    for number in range(24):
        tail = np.random.default_rng(number).standard_normal(3200) * 10 ** (-np.arange(3200) / 1000)
        soundfile.write(folder / f"{number:02d}.wav", np.concatenate([[1.0], 0.1 * tail]) / 2, 16000)
    return folder


def values(capsys, *arguments: object) -> dict:
    evaluate.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_conditions_are_told_with_the_worst_beside_the_mean_and_on_the_page(causal_run, noises, halls, capsys, monkeypatch):
    monkeypatch.setattr(worst, "LEAST", 2)
    given = [causal_run.root, "--model", "best", "--conditions", "--noise", noises, "--rooms", halls]
    found = values(capsys, *given)
    told = found["conditions"]
    assert list(told["conditions"]) == [
        *(f"noise, {level} dB" for level in (20, 10, 5, 0)),
        *("rooms", "quiet, -20 dB", "telephone", "opus"),
    ]
    assert told["clean"]["value"] == found["figures"]["accuracy"]["value"] and not told["not_tried"]
    shares = {name: row["value"] for name, row in told["conditions"].items()}
    assert shares[told["worst"]] == min(shares.values()) and told["mean"]["value"] == pytest.approx(np.mean([*shares.values()]))
    assert all(row["interval"][0] <= row["value"] <= row["interval"][1] for row in told["conditions"].values())
    assert set(found["groups"]) == {"speaker"} and len(found["groups"]["speaker"]["groups"]) == 2
    evaluate.main([*map(str, given)])
    out = " ".join(capsys.readouterr().out.split())
    assert f"worst: {told['worst']}" in out and "mean of 8 conditions" in out and "groups by" in out
    page = causal_run.evaluation("best-test").read_text()
    assert f"<td>worst: {told['worst']}</td>" in page and "All by speaker" in page and "noise, 5 dB" in page


def test_without_sounds_the_rest_is_told_and_what_is_not_is_said(causal_run, capsys):
    told = values(capsys, causal_run.root, "--model", "best", "--conditions")["conditions"]
    assert list(told["conditions"]) == ["quiet, -20 dB", "telephone", "opus"]
    assert told["not_tried"] == [
        f"{what}: not tried, as there is none; --{what} or data.{what} names a folder" for what in ("noise", "rooms")
    ]
    plain = values(capsys, causal_run.root, "--model", "best")
    assert "conditions" not in plain


def test_noise_at_0_db_is_heard_as_such(causal_run, noises):
    """The features that are judged are those of recordings with as much noise as speech."""
    classifier = Classifier.open(causal_run, "best")
    index = indexed(classifier.config)
    tried, _ = conditions_of(classifier.config.data, index, Asked((str(noises),)))
    loaded = {
        name: evaluate.load_corpus(
            SoloWorld(),
            classifier.config,
            classifier.front_end,
            lambda of=of: evaluate.alone(index, "test", of) if of else index,
        ).test
        for name, of in {"clean": None, "loud": tried["noise, 0 dB"], "quiet": tried["quiet, -20 dB"]}.items()
    }
    frames = {name: np.asarray(split.frames[split.starts[0] : split.starts[-1]], float) for name, split in loaded.items()}
    power = {name: np.exp(of).sum(1).mean() for name, of in frames.items()}
    assert power["loud"] / power["clean"] == pytest.approx(2, rel=0.3)
    assert power["clean"] / power["quiet"] == pytest.approx(100, rel=0.1)
    assert loaded["loud"].labels.tolist() == loaded["clean"].labels.tolist()


def test_what_training_has_heard_is_not_for_the_test(causal_run, noises, halls):
    classifier = Classifier.open(causal_run, "best")
    data = replace(classifier.config.data, noise=(str(noises),), rooms=(str(halls),))
    index = indexed(classifier.config)
    tried, untold = conditions_of(data, index, Asked())
    trained = surroundings.sounds_of(surroundings.with_conditions(data, index).copies)
    tested = {sound for conditions in tried.values() for sound in conditions.sounds}
    assert len(trained) + len(tested) == 48 and not tested & {*trained} and not untold
    with pytest.raises(DataError, match=r"--noise: \d+ recording\(s\) are in the corpus too"):
        conditions_of(data, index, Asked((str(noises),)))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--noise", "nowhere"], "--noise, --rooms: are for --conditions; give that too"),
        (["--conditions", "--noise", "nowhere"], 'data.noise: "nowhere": no such folder'),
        (["--set", 'data.groups=["accent"]'], "are columns of a manifest"),
    ],
)
def test_what_cannot_be_tried_is_one_line(causal_run, given, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(causal_run.root), "--model", "best", *given])
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.fixture
def clips(tmp_path) -> DataConfig:
    rows = []
    for number, seconds in enumerate((1.0, 3.0, 9.0, 30.0, 31.0)):
        soundfile.write(tmp_path / f"{number}.wav", np.ones(round(seconds * 1000)), 1000)
        rows.append({"path": f"{number}.wav", "label": "de", "accent": "north" if number < 2 else None, "age": 20 + number})
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return DataConfig(name="manifest", manifests=(str(tmp_path / "test.jsonl"),), all_is_test=True)


def test_groups_are_by_speaker_duration_and_columns_of_the_manifest(clips, tmp_path):
    from hpcnas.data import manifest

    examples = manifest.index(clips).splits["test"]
    found = groups.groups(replace(clips, groups=("accent", "age")), "test", examples)
    assert found["duration"] == ["0 to 3 s", "0 to 3 s", "3 to 10 s", "10 to 30 s", "10 to 30 s"], "the rest is not heard"
    assert found["accent"] == ["north", "north", "", "", ""] and found["age"] == ["20", "21", "22", "23", "24"]
    assert found["speaker"] == [""] * 5
    assert "duration" not in groups.groups(DataConfig(name="speech_commands"), "test", [Example(Path("a_nohash_0.wav"), 0)])
    with pytest.raises(ConfigError, match=r'data\.groups names "acent": the manifest for test has accent, age, label, path'):
        groups.groups(replace(clips, groups=("acent",)), "test", examples)


def test_recordings_that_cannot_be_read_do_not_shift_groups(causal_run, tones, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(worst, "LEAST", 1)
    corpus = shutil.copytree(tones, tmp_path / "corpus")
    before = values(capsys, causal_run.root, corpus, "--model", "best")["groups"]["speaker"]
    (corpus / "high" / "s10_nohash_0.wav").write_bytes(b"no audio")
    given = ["--set", "data.on_bad_file=skip"]
    after = values(capsys, causal_run.root, corpus, "--model", "best", *given)["groups"]["speaker"]
    counts = [{row["name"]: row["count"] for row in one["groups"]} for one in (before, after)]
    assert counts[1]["s10"] == counts[0]["s10"] - 1 and counts[1]["s11"] == counts[0]["s11"]


def test_an_index_of_another_corpus_asks_for_no_training_sounds(noises):
    index = CorpusIndex(("a",), {"train": (), "validation": (), "test": (Example(Path("a.wav"), 0),)}, ())
    tried, untold = conditions_of(DataConfig(), index, Asked(noise=(str(noises),)))
    assert len(tried["noise, 5 dB"].noise) == 24 and len(untold) == 1
