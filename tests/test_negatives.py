"""Audio without keywords: what is found, how it is divided, and the false alarms that are counted in it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas import evaluate
from hpcnas.core.errors import DataError
from hpcnas.data import negatives, synthetic_negatives
from hpcnas.data.audio import RATE
from hpcnas.data.cache import LEFT_FOR_S
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.data.identity import identify
from hpcnas.data.negatives import Negative
from hpcnas.data.speech_maker import made_once
from hpcnas.judging.field import alarms_in
from hpcnas.runtime.features import indexed
from hpcnas.use.classifier import Classifier

EMPTY = CorpusIndex(("yes",), {"train": (), "validation": (), "test": ()}, ())


def written(path: Path, seconds: float = 2.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path, 0.1 * noise, RATE, subtype="PCM_16")
    return path


@pytest.fixture
def home(tmp_path) -> Path:
    """40 recordings of noise."""
    for number in range(40):
        written(tmp_path / "home" / f"room{number % 3}" / f"{number:02d}.wav", seed=number)
    return tmp_path / "home"


def divided(*places: object, keywords=("yes",), corpus=EMPTY, **settings) -> dict[str, list[Path]]:
    parts = negatives.index(DataConfig(negatives=tuple(map(str, places)), **settings), corpus, keywords)
    return {split: [one.path for one in part] for split, part in parts.items()}


def test_each_recording_is_in_one_part_whatever_others_there_are(home):
    before = divided(home)
    assert sum(map(len, before.values())) == 40 and len(before["test"]) > len(before["validation"]) > 0
    written(home / "room9" / "more.wav")
    after = divided(home)
    assert all(set(before[split]) <= set(after[split]) for split in before) and sum(map(len, after.values())) == 41
    assert divided(home, home / "room1") == after, "a folder within another one adds nothing"
    assert len(divided(home, all_is_test=True)["test"]) == 41


def test_lists_in_the_folder_divide_it(home):
    (home / "validation_list.txt").write_text("room0/00.wav\n")
    (home / "testing_list.txt").write_text("room1/01.wav\nroom2/02.wav\n")
    parts = divided(home)
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [37, 1, 2]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"label": "YES"}, 'line 2: says the keyword "yes"; leave such lines out'),
        ({"text": "Oh, yes!"}, 'line 2: says the keyword "yes"; leave such lines out'),
        ({"text": "yesterday", "audio_filepath": "gone.wav"}, "names a file that does not exist"),
    ],
)
def test_a_list_with_a_keyword_is_refused(tmp_path, line, told):
    written(tmp_path / "a.wav")
    lines = [{"audio_filepath": "a.wav", "text": "eyes only"}, {"audio_filepath": "a.wav", **line}]
    path = tmp_path / "negatives.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError) as raised:
        divided(path)
    assert told in str(raised.value) and "\n" not in str(raised.value)


def test_a_folder_of_a_keyword_one_without_audio_and_the_corpus_own_recordings_are_refused(home, tmp_path):
    with pytest.raises(DataError, match=r'room1.*: by its folder says the keyword "room1"; leave it out or rename it'):
        divided(home, keywords=("room1",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.negatives: .*empty: a folder without recordings"):
        divided(tmp_path / "empty")
    with pytest.raises(DataError, match=r'data\.negatives: ".*nowhere": no such folder or list'):
        divided(tmp_path / "nowhere")
    own = CorpusIndex(("yes",), {"train": (Example(home / "room0" / "00.wav", 0),), "validation": (), "test": ()}, ())
    with pytest.raises(DataError, match=r"data\.negatives: 1 recording\(s\) are in the corpus too, first .*00\.wav; leave"):
        divided(home, corpus=own)


def test_damaged_recordings_go_by_on_bad_file(home):
    (home / "room0" / "00.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r'00\.wav\); replace or remove them, or set data\.on_bad_file = "skip"'):
        divided(home)
    assert sum(map(len, divided(home, on_bad_file="skip").values())) == 39


def test_an_empty_part_is_told():
    with pytest.raises(DataError, match=r"data\.negatives: none of 1 recording\(s\) falls into the test part; have more"):
        negatives.part({"train": (Negative(Path("a")),), "validation": (), "test": ()}, "test")


def test_stretches_are_cut_to_the_sample(tmp_path):
    path = written(tmp_path / "long.wav", 25.0)
    whole, _ = soundfile.read(path, dtype="float32")
    for start_s, end_s in ((0.0, float("inf")), (9.5, 21.25), (24.0, 30.0), (3.0, 4.0)):
        got = np.concatenate(list(negatives.samples(Negative(path, start_s, end_s))))
        np.testing.assert_array_equal(got, whole[round(start_s * RATE) : round(min(end_s, 25) * RATE)])


@pytest.fixture(params=[True, False], ids=["frame by frame", "by windows"])
def classifier(request, causal_run) -> Classifier:
    one = Classifier.open(causal_run, "best")
    space = replace(one.config.space, causal=request.param)
    return replace(one, config=replace(one.config, space=space, spotting=replace(one.config.spotting, hop_s=0.5)))


def test_false_alarms_are_those_of_detect_and_hours_those_of_the_audio(classifier, home):
    from hpcnas.use.hearing import heard

    recordings = [Negative(path) for path in sorted(home.rglob("*.wav"))[:6]]
    alarms = alarms_in(classifier, recordings, "fail")
    assert alarms.hours == pytest.approx(12 / 3600)
    read = [soundfile.read(one.path, dtype="float32")[0] for one in recordings]
    one_by_one = [found for samples in read for found in heard(classifier, samples, 0.01, classifier.config.spotting)]
    assert alarms.keywords.tolist() == [one.keyword for one in one_by_one] and len(one_by_one) > 5
    np.testing.assert_allclose(alarms.scores, [one.score for one in one_by_one], rtol=1e-4)
    side_by_side = alarms_in(classifier, recordings, "fail", processes=2)
    np.testing.assert_array_equal(side_by_side.scores, alarms.scores)


def test_memory_does_not_grow_with_a_recording(classifier, tmp_path):
    peaks = []
    for seconds in (30, 150):
        one = Negative(written(tmp_path / f"{seconds}.wav", seconds))
        tracemalloc.start()
        alarms_in(classifier, [one], "fail")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 1e6


def test_a_recording_that_breaks_off_is_left_out_or_told(classifier, home, monkeypatch):
    recordings = [Negative(path) for path in sorted(home.rglob("*.wav"))[:3]]

    def breaking(one: Negative):
        yield np.zeros(RATE, np.float32)
        if one == recordings[1]:
            raise DataError(f"{one.path}: gives fewer samples than its headers tell")

    monkeypatch.setattr(negatives, "samples", breaking)
    with pytest.raises(DataError, match=r"gives fewer samples than its headers tell.*on_bad_file"):
        alarms_in(classifier, recordings, "fail")
    assert alarms_in(classifier, recordings, "skip").hours == pytest.approx(2 / 3600)


def test_evaluate_counts_false_alarms_in_them(causal_run, home, capsys, monkeypatch):
    from hpcnas.core import false_alarms

    monkeypatch.setattr(false_alarms, "LEAST_ALARMS", 0.01)
    given = ["--model", "best", "--set", f"data.negatives=[{json.dumps(str(home))}]"]
    evaluate.main([str(causal_run.root), *given, "--json"])
    found = json.loads(capsys.readouterr().out)
    count = len(negatives.index(DataConfig(negatives=(str(home),)), EMPTY, ())["test"])
    assert found["hours_without_keywords"] == pytest.approx(2 * count / 3600)
    figure = found["figures"]["misses at 1 false alarm an hour"]
    assert 0 <= figure["interval"][0] <= figure["value"] <= figure["interval"][1] <= 1
    evaluate.main([str(causal_run.root), *given])
    assert "misses at 1 false alarm an hour" in " ".join(capsys.readouterr().out.split())
    assert "of audio without keywords" in (causal_run.root / "report" / "best-test.html").read_text()


def test_a_run_may_go_on_with_other_negatives():
    before, after = (configuration.load(None, [f'data.negatives=["{name}"]']) for name in ("home", "street"))
    assert not configuration.differences(before, after)
    with pytest.raises(configuration.ConfigError, match=r'data\.negatives names "home" twice'):
        configuration.load(None, ['data.negatives=["home", "home"]'])


needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="no eSpeak NG here: pip install 'hpcnas[speech]'"
)


@needs_espeak
def test_no_word_of_the_built_in_ones_is_a_keyword_or_sounds_like_one(tmp_path):
    words = synthetic_negatives.vocabulary(("Write", "hey sun", "no"))
    everything = {word.casefold() for of_language in words.values() for word in of_language}
    assert not everything & {"write", "right", "sun", "son", "no", "know"} and len(everything) > 500
    alike = synthetic_negatives.vocabulary(("sea",))
    assert "see" in words["en-us"] and "see" not in alike["en-us"], "the sea is seen by its sound"


@needs_espeak
def test_the_built_in_ones_are_made_once_for_everyone_with_voices_of_one_part_each(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic_negatives, "RECORDING_S", 15.0)
    monkeypatch.setattr(synthetic_negatives, "UTTERANCES", 2)
    folders = [synthetic_negatives.folder(("yes",), 90 / 3600, str(tmp_path / name)) for name in ("one", "two")]
    contents = [{path.relative_to(f): path.read_bytes() for path in f.rglob("*.wav")} for f in folders]
    assert contents[0] == contents[1] and len(contents[0]) == 6
    settings = {"cache": str(tmp_path / "one"), "negative_hours": 0.5}
    monkeypatch.setattr(negatives, "builtin", lambda config, keywords, for_training=False: folders[0])
    parts = negatives.index(DataConfig(negatives=("builtin",), **settings), EMPTY, ("yes",))
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [0, 3, 3]
    voices = [{one.path.stem.split("_nohash")[0].split("-")[-1] for one in parts[split]} for split in ("validation", "test")]
    assert not voices[0] & voices[1]
    samples = np.concatenate(list(negatives.samples(parts["test"][0])))
    assert len(samples) == 15 * RATE and 0.05 < np.abs(samples).max() <= 0.92
    before = folders[0].stat().st_mtime_ns
    assert synthetic_negatives.folder(("YES",), 90 / 3600, str(tmp_path / "one")) == folders[0]
    assert folders[0].stat().st_mtime_ns == before


@needs_espeak
def test_built_in_ones_for_training_are_others_by_other_voices(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic_negatives, "RECORDING_S", 15.0)
    monkeypatch.setattr(synthetic_negatives, "UTTERANCES", 2)
    made = {of: synthetic_negatives.folder(("yes",), 60 / 3600, str(tmp_path), for_training=of) for of in (False, True)}
    monkeypatch.setattr(negatives, "builtin", lambda config, keywords, for_training=False: made[for_training])
    parts = negatives.index(DataConfig(negatives=("builtin",), negative_percent=10.0), EMPTY, ("yes",))
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [4, 2, 2]
    voices = {split: {one.path.stem.split("_nohash")[0].split("-")[-1] for one in part} for split, part in parts.items()}
    assert not voices["train"] & (voices["validation"] | voices["test"])


def test_windows_are_spread_over_the_audio_and_lie_within_their_recordings(tmp_path):
    long, short = (written(tmp_path / f"{seconds}.wav", seconds) for seconds in (20, 10))
    given = [Negative(long, 5.0), Negative(short, 0.0, 5.0)]
    found = negatives.windows(given, 40, 1.0, 3)
    assert found == negatives.windows(given, 40, 1.0, 3) and len({(one.path, one.start_s) for one in found}) == 40
    assert {one.label for one in found} == {3} and sum(one.path == long for one in found) == 30
    assert all(5 <= one.start_s <= 19 if one.path == long else 0 <= one.start_s <= 4 for one in found)


def test_training_learns_windows_of_the_training_part_alone(tones, home, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCNAS_CACHE", str(tmp_path / "cache"))
    given = ["data.name=speech_commands", f"data.path={tones}", 'data.keywords=["low", "mid", "high"]']
    given += ["data.unknown_percent=100", f"data.negatives=[{json.dumps(str(home))}]"]
    plain, more = (indexed(configuration.load(None, [*given, *extra])) for extra in ([], ["data.negative_percent=50"]))
    own = {one.path for one in negatives.index(DataConfig(negatives=(str(home),)), EMPTY, ())["train"]}
    added = more.splits["train"][len(plain.splits["train"]) :]
    assert len(added) == 12 and {one.path for one in added} <= own, "half as many as the 24 recordings of keywords"
    assert {more.class_names[one.label] for one in added} == {"_unknown_"}
    assert all(more.splits[split] == plain.splits[split] for split in ("validation", "test"))
    names = identify(more, configuration.load(None, given).data, {}).names
    assert sum(name.startswith("room") and "of data.negatives" in name for name in names) == 12, "wherever they are"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["data.negative_percent=5"], "data.negative_percent = 5.0: comes from data.negatives, which is empty"),
        (["data.mine_negatives=5"], "data.mine_negatives = 5: comes from data.negatives, which is empty"),
        (["data.negatives=home", "data.mine_negatives=-1"], "data.mine_negatives = -1: must be 0 or lie between 0 and"),
        (["data.negatives=home", "data.negative_percent=-1"], "data.negative_percent = -1.0: must not be negative"),
        (["data.confusable_language=../x"], 'data.confusable_language = "../x": is no language, such as "en-us"'),
        (["data.confusable_words=3"], "data.confusable_words = 3: must be 0 or lie between 5 and 1000"),
    ],
)
def test_settings_of_negatives_that_cannot_work_are_refused(given, told):
    with pytest.raises(configuration.ConfigError, match=re.escape(told)):
        configuration.load(None, ["data.name=speech_commands", *given])


def test_negatives_for_training_need_a_class_for_them(tones, home):
    given = ["data.name=speech_commands", f"data.path={tones}", "data.protocol=all", "data.negative_percent=5"]
    with pytest.raises(DataError, match=r'data\.negative_percent: makes examples of "_unknown_", which is no class here; take'):
        indexed(configuration.load(None, [*given, f"data.negatives=[{json.dumps(str(home))}]"]))


def test_what_a_killed_program_left_goes_when_it_is_old(tmp_path):
    for name, age_s in ((".speech.old", 2 * LEFT_FOR_S), (".speech.new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    made_once(tmp_path / "speech", lambda work: (work / "a").touch())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".speech.new", "speech"]


def test_built_in_keywords_come_with_built_in_negatives():
    assert configuration.load(None).data.negatives == configuration.Config().data.negatives == ("builtin",)
    assert configuration.load(None, ["data.negatives=[]"]).data.negatives == ()
    assert configuration.load(None, ["data.name=speech_commands"]).data.negatives == ()
    with pytest.raises(configuration.ConfigError, match=r"data\.negative_hours = 0\.1: must lie between 0\.5 and 1000"):
        configuration.load(None, ["data.negative_hours=0.1"])
