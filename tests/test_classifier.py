"""A run's models on audio, whole and frame by frame."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from hpcnas.classifier import Classifier
from hpcnas.core.errors import RunError
from hpcnas.core.spotting import SpottingConfig
from hpcnas.data import audio, features
from hpcnas.data.features import FilterBank, LogMelStream, log_mel
from hpcnas.detect import heard
from hpcnas.store import model_card
from hpcnas.store.run_dir import RunDir


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


def test_weights_of_other_classes_are_one_line(causal_run, tmp_path):
    run = RunDir(shutil.copytree(causal_run.root, tmp_path / "run"))
    card = model_card.load(run.model_card)
    model_card.save(run.model_card, replace(card, class_names=(*card.class_names, "zulu")))
    with pytest.raises(RunError, match=r'model "0": its weights do not fit .* 6 classes of model_card\.json'):
        Classifier.open(run, "0")


def test_a_causal_model_hears_a_recording_of_one_window(causal_run, tones):
    classifier = Classifier.open(causal_run, "best")
    assert heard(classifier, audio.read(tones / "low" / "s10_nohash_0.wav"), 0.0, SpottingConfig())
