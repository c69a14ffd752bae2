"""Words that sound like keywords: which, in which part, and what a model makes of them."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from hpcnas import config as configuration
from hpcnas import evaluate
from hpcnas.core.errors import DataError
from hpcnas.data import confusable, espeak
from hpcnas.data.confusable import chosen, has, neighbours, sounds
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.judging.alike import interval
from hpcnas.runtime.features import indexed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="no eSpeak NG here: pip install 'hpcnas[speech]'"
)
YES = (("j", "j"), ("'E", "ɛ"), ("s", "s"))


def test_one_sound_of_a_word_is_another_one_of_its_kind_or_a_consonant_is_missing():
    found = {sounds(word): word for word in neighbours(YES, {"j": "j", "e": "E", "s": "s", "t": "t", "i": "i:"})}
    assert {"".join(word) for word in found} == {"ses", "tes", "jis", "jej", "jet", "es", "je"}
    assert espeak.of_phonemes(found[("j", "i", "s")]) == "[[j|'i:|s]]", "the stress stays"
    assert {"".join(sounds(word)) for word in neighbours(YES[1:], {"s": "s", "e": "E", "t": "t"})} == {"et"}, "two sounds stay"


def test_a_word_has_a_keyword_in_it_if_its_sounds_follow_each_other():
    assert has(("k", "ə", "p"), ("ə", "p")) and not has(("ə", "k", "p"), ("ə", "p")) and not has(("ə",), ("ə", "p"))


def test_no_word_is_a_keyword_in_any_accent_or_has_one_in_it_and_none_is_chosen_twice():
    keywords = ("yes", "no", "up", "on", "off", "stop", "go")
    words = chosen(keywords, "en-us", 12)
    everything = [sounds(word) for of in words.values() for word in of]
    assert len(everything) == len(set(everything)) == 12 * len(keywords)
    for accent in ("en-us", "en", "en-gb-scotland"):
        spoken = espeak.phonemes({accent: keywords})[accent]
        assert not [(word, keyword) for word in everything for keyword in spoken if has(word, sounds(keyword))]
    assert words == chosen(keywords, "en-us", 12)
    more = chosen(keywords, "en-us", 15)
    assert [sounds(word) for word in more["yes"]][:12] == [sounds(word) for word in words["yes"]], (
        "which does not depend on how many"
    )


@pytest.mark.parametrize(("language", "keyword"), [("de", "Straße"), ("fr", "bonjour"), ("ar", "نعم"), ("cmn", "你好")])
def test_every_language_with_a_voice_has_some(language, keyword):
    (words,) = chosen((keyword,), language, 10).values()
    assert len(words) == 10


def test_a_language_without_a_voice_and_a_keyword_without_sounds_are_one_line():
    with pytest.raises(DataError, match=r'data\.confusable_language = "xx": eSpeak NG has no such voice; en-us'):
        chosen(("yes",), "xx", 5)
    with pytest.raises(DataError, match=r'data\.confusable_words: "\?" has no sounds in data\.confusable_language = "en-us"'):
        chosen(("?",), "en-us", 5)


@pytest.fixture
def settings(tones, tmp_path) -> list[str]:
    given = {"name": "speech_commands", "path": tones, "keywords": '["low", "mid", "high"]', "unknown_percent": 100}
    given |= {"cache": tmp_path / "cache", "confusable_words": 5}
    return [f"data.{key}={value}" for key, value in given.items()]


def test_each_word_is_in_one_part_by_voices_of_that_part(settings):
    config = configuration.load(None, settings).data
    empty = CorpusIndex(("low", "mid", "high", "_unknown_"), dict.fromkeys(SPLITS, ()), ())
    parts = {split: confusable.part(config, empty, split) for split in SPLITS}
    words = {split: {one.path.parent.name for one in part if one.label == 3} for split, part in parts.items()}
    assert [len(words[split]) for split in SPLITS] == [9, 3, 3] and len(set().union(*words.values())) == 15
    voices = {split: {one.path.stem.split("_nohash")[0].split("-")[-1] for one in part} for split, part in parts.items()}
    assert not voices["train"] & voices["test"] and not voices["validation"] & (voices["train"] | voices["test"])
    counts = {split: Counter(one.label for one in part) for split, part in parts.items()}
    assert counts["test"] == {0: 15, 1: 15, 2: 15, 3: 15} and counts["train"][3] == 45
    samples, rate = soundfile.read(parts["test"][0].path)
    assert len(samples) == rate == 16000 and 0.05 < np.abs(samples).max() <= 0.92
    before = parts["test"][0].path.stat().st_mtime_ns
    assert confusable.part(config, empty, "test")[0].path.stat().st_mtime_ns == before, "made once"


def test_training_learns_them_and_the_keywords_by_the_same_voices(settings):
    plain, more = (indexed(configuration.load(None, given)) for given in (settings[:-1], settings))
    added = Counter(more.class_names[one.label] for one in more.splits["train"][len(plain.splits["train"]) :])
    assert added == {"low": 15, "mid": 15, "high": 15, "_unknown_": 45}
    assert all(more.splits[split] == plain.splits[split] for split in ("validation", "test"))
    with pytest.raises(DataError, match=r'data\.confusable_words: makes examples of "_unknown_"'):
        indexed(configuration.load(None, [*settings, "data.protocol=all"]))
    assert indexed(configuration.load(None, [*settings, "data.all_is_test=true"])).splits["train"] == ()


def test_evaluate_tells_how_many_are_taken_for_keywords_also_of_models_that_knew_none(causal_run, capsys):
    given = [str(causal_run.root), "--model", "best", "--json"]
    evaluate.main(given)
    before = json.loads(capsys.readouterr().out)
    evaluate.main([*given, "--set", "data.confusable_words=5"])
    found = json.loads(capsys.readouterr().out)
    new = {name: figure for name, figure in found["figures"].items() if name not in before["figures"]}
    assert {"words that sound alike taken for keywords", "synthesised keywords missed"} <= new.keys()
    assert all(figure["interval"][0] <= figure["value"] <= figure["interval"][1] for figure in new.values())
    assert found["figures"]["accuracy"] == before["figures"]["accuracy"] and "thresholds" in found


def test_recordings_of_a_word_are_no_independent_ones():
    is_so = np.repeat([1.0, 0.0, 0.0, 0.0], 25)
    of_few, of_many = interval(is_so, np.repeat([*"abcd"], 25)), interval(is_so, np.arange(100).astype(str))
    assert of_few[0] < of_many[0] < 0.25 < of_many[1] < of_few[1]
    assert DataConfig().confusable_words == 0
