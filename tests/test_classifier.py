"""A run's models on audio, whole and frame by frame."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hpcnas.core.errors import RunError
from hpcnas.core.spotting import SpottingConfig
from hpcnas.data import audio, features
from hpcnas.data.features import FilterBank, LogMelStream, log_mel
from hpcnas.store import model_card
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier
from hpcnas.use.hearing import hear, heard


def test_log_mel_comes_out_the_same_piece_by_piece():
    samples = 0.1 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    stream = LogMelStream(FilterBank())
    pieces = np.concatenate([stream.push(samples[i : i + 700]) for i in range(0, 32000, 700)], 1)
    np.testing.assert_array_equal(pieces, log_mel(samples, FilterBank())[:, : pieces.shape[1]])
    assert 196 <= pieces.shape[1] <= 200


def test_listening_agrees_with_scanning_and_hears_the_tone(causal_run, tones):
    classifier = Classifier.open(causal_run, "best")
    assert classifier.can_listen
    tone, quiet = (soundfile.read(tones / n)[0] for n in ("high/s10_nohash_0.wav", "_background_noise_/white.wav"))
    samples = np.concatenate([quiet[:24000], tone, quiet[:24000]]).astype(np.float32)
    heard = list(classifier.listen(samples[i : i + 160] for i in range(0, len(samples), 160)))
    times_s, logits = classifier.scan(samples, 0.1)
    # The first window has nothing before it: there the two are the same.
    first_s, first = heard[0]
    bank = classifier.config.features.bank
    window = torch.from_numpy(features.log_mel(samples, bank)[:, : round(first_s * 100)]).unsqueeze(0)
    np.testing.assert_allclose(first, classifier.logits(window)[0], atol=1e-3)
    high = classifier.class_names.index("high")
    listened = heard[int(np.argmax([of_chunk[high] for _, of_chunk in heard]))][0] - 0.5
    assert abs(listened - times_s[logits[:, high].argmax()]) < 0.5
    assert 1.0 < listened < 2.5, "the middle of a window of a second that has some of the tone, from 1.5 to 2.0 s, in it"


def test_audio_that_is_shorter_than_a_window_is_padded(causal_run):
    times_s, logits = Classifier.open(causal_run, "0").scan(np.zeros(100, np.float32), 0.1)
    assert times_s.tolist() == [0.5] and logits.shape == (1, 5) and audio.RATE == 16000


def test_a_model_is_told_how_long_a_short_recording_is_where_padding_does_not_count(causal_run):
    keywords = Classifier.open(causal_run, "0")
    languages = replace(keywords, config=replace(keywords.config, data=replace(keywords.config.data, name="language_folders")))
    short = 0.1 * np.random.default_rng(0).standard_normal(6400).astype(np.float32)
    padded = audio.fitted(short, audio.RATE)
    (_, counted), (_, told) = keywords.scan(short, 0.1), languages.scan(short, 0.1)
    np.testing.assert_array_equal(counted, keywords.scan(padded, 0.1)[1])
    bank = keywords.config.features.bank
    window = torch.from_numpy(log_mel(padded, bank)).unsqueeze(0)
    np.testing.assert_array_equal(told, keywords.logits(window, torch.tensor([40])))
    assert np.abs(told - counted).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "message"),
    [("ensemble", "no ensemble"), ("student", "has no student"), ("7", 'no model "7"'), ("x", "known: ensemble")],
)
def test_models_that_a_run_does_not_have_are_named(causal_run, name, message):
    with pytest.raises(RunError, match=message):
        Classifier.open(causal_run, name)


@pytest.fixture(scope="module")
def both(causal_run) -> dict[str, Classifier]:
    """A model fed frame by frame, and the same with a window that slides."""
    causal = Classifier.open(causal_run, "best")
    space = replace(causal.config.space, causal=False)
    return {"causal": causal, "sliding": replace(causal, config=replace(causal.config, space=space))}


def blocks_of(samples: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """In blocks of any length, some of them empty."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(samples), 40))
    return np.split(samples, [*cuts, cuts[-1]])


def test_audio_in_blocks_is_scanned_like_all_at_once(both):
    samples = 0.1 * np.random.default_rng(0).standard_normal(audio.RATE * 61).astype(np.float32)
    classifier = both["sliding"]
    times_s, logits = classifier.scan(samples, 0.1)
    pieces = list(classifier.scan_blocks(blocks_of(samples), 0.1))
    assert [len(times) for times, _ in pieces] == [256, 256, 89] and len(times_s) == 601
    np.testing.assert_array_equal(np.concatenate([times for times, _ in pieces]), times_s)
    np.testing.assert_allclose(np.concatenate([of for _, of in pieces]), logits, atol=1e-5)
    whole = log_mel(samples, classifier.config.features.bank)
    for at in (0, 255, 256, 600):
        window = torch.from_numpy(whole[:, 10 * at : 10 * at + 100]).unsqueeze(0)
        np.testing.assert_allclose(classifier.logits(window)[0], logits[at], atol=1e-5)
        assert times_s[at] == pytest.approx(0.1 * at + 0.5)
    for count in (0, 100, 15999, 16000, 16001):  # around a window
        (times, short), of_blocks = classifier.scan(samples[:count], 0.1), list(classifier.scan_blocks([samples[:count]], 0.1))
        assert times.tolist() == [0.5] and len(of_blocks) == 1
        np.testing.assert_allclose(of_blocks[0][1], short, atol=1e-6)


@pytest.mark.parametrize("kind", ["causal", "sliding"])
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_detections_in_blocks_are_those_of_the_whole_recording(both, tones, tmp_path, kind, threshold):
    rng, words = np.random.default_rng(0), ("low", "mid", "high", "other")
    parts = []
    for _ in range(25):
        parts.append(0.02 * rng.standard_normal(rng.integers(4000, 30000)))
        parts.append(soundfile.read(tones / words[rng.integers(4)] / f"s{rng.integers(12):02d}_nohash_0.wav")[0])
    samples = np.concatenate(parts).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, audio.RATE, subtype="FLOAT")
    config = SpottingConfig()
    whole = heard(both[kind], audio.read(tmp_path / "long.wav"), threshold, config)
    assert whole
    for blocks in (blocks_of(samples), audio.stream(tmp_path / "long.wav", 1.7)):
        found = list(hear(blocks, both[kind], threshold, config))
        assert [(one.keyword, one.time_s) for one in found] == [(one.keyword, one.time_s) for one in whole]
        np.testing.assert_allclose([one.score for one in found], [one.score for one in whole], atol=1e-5)


@pytest.mark.parametrize("kind", ["causal", "sliding"])
def test_memory_does_not_grow_with_the_length_of_a_recording(both, kind):
    held_mb: list[float] = []

    def blocks(minutes: int):
        rng = np.random.default_rng(0)
        for _ in range(6 * minutes):
            yield 0.02 * rng.standard_normal(10 * audio.RATE).astype(np.float32)
            held_mb.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)

    def grown_mb() -> float:
        """In the last five of six minutes."""
        held_mb.clear()
        for _ in hear(blocks(6), both[kind], 0.0, SpottingConfig(hop_s=0.5)):
            pass
        return max(held_mb[6:]) - held_mb[5]

    # The process may grow once, for libraries that are loaded late and arrays that the allocator keeps, but not each time.
    assert min(grown_mb(), grown_mb()) < 20, "five minutes were 290 MB when they were read as a whole"


def test_weights_of_other_classes_are_one_line(causal_run, tmp_path):
    run = RunDir(shutil.copytree(causal_run.root, tmp_path / "run"))
    card = model_card.load(run.model_card)
    model_card.save(run.model_card, replace(card, class_names=(*card.class_names, "zulu")))
    with pytest.raises(RunError, match=r'model "0": its weights do not fit .* 6 classes of model_card\.json'):
        Classifier.open(run, "0")


def test_a_causal_model_hears_a_recording_of_one_window(causal_run, tones):
    classifier = Classifier.open(causal_run, "best")
    assert heard(classifier, audio.read(tones / "low" / "s10_nohash_0.wav"), 0.0, SpottingConfig())
