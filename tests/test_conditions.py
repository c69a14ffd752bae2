"""Training recordings in noise, in rooms, quieter and through codecs: what is drawn, what is kept, and what is refused."""

from __future__ import annotations

import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import feature_file

from hpcnas import config as configuration
from hpcnas.core.corpus_identity import changes
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import audio, features, negatives, rooms, surroundings
from hpcnas.data.codecs import CODECS, heard_through
from hpcnas.data.conditions import Conditions, Sound
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.data.mixing import Mixer
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import indexed, load_corpus
from hpcnas.runtime.own_corpus import identified
from hpcnas.runtime.together import SoloWorld

RATE = audio.RATE
AS_IT_IS = AugmentationConfig(
    shift=0, tempo=0, warp=0, noise_probability=0, frequency_masks=0, frequency_mask_width=0, time_masks=0, time_mask_width=0
)


def decaying(seed: int = 0, decay_s: float = 0.3, rate: int = RATE, delay_s: float = 0.01) -> np.ndarray:
    """An impulse response as rooms have it: a peak, and noise that decays by 60 dB."""
    rng, time_s = np.random.default_rng(seed), np.arange(round(decay_s * rate)) / rate
    tail = 0.05 * rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail[0] = 1.0
    return 0.5 * np.concatenate([np.zeros(round(delay_s * rate)), tail])


@pytest.fixture
def noises(tmp_path) -> Path:
    """24 recordings of noise, at two rates."""
    (tmp_path / "noises").mkdir()
    for number in range(24):
        sound = 0.1 * np.random.default_rng(number).standard_normal(32000)
        soundfile.write(tmp_path / "noises" / f"{number:02d}.wav", sound, (16000, 44100)[number % 2], subtype="PCM_16")
    return tmp_path / "noises"


@pytest.fixture
def halls(tmp_path) -> Path:
    """12 rooms of two impulse responses each."""
    for number in range(24):
        path = tmp_path / "halls" / f"room{number // 2}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, decaying(number, rate=(16000, 48000)[number % 2]), (16000, 48000)[number % 2])
    return tmp_path / "halls"


@pytest.fixture
def config(tones, tmp_path, noises, halls):
    given = ["data.name=speech_commands", f"data.path={tones}", "data.protocol=all", f"data.cache={tmp_path / 'cache'}"]
    given += [f"data.noise={noises}", f"data.rooms={halls}", "data.gain_db=[-20, 0]", "data.codecs=telephone"]
    return configuration.load(None, given)


def changed(config, **settings):
    return replace(config, data=replace(config.data, **settings))


def feature_files(config) -> list[Path]:
    return list((Path(config.data.cache) / "features").glob("*.h5"))


def test_copies_are_the_same_recordings_in_other_conditions_and_held_out_ones_stay_as_they_are(config):
    corpus = load_corpus(SoloWorld(), config)
    plain = load_corpus(SoloWorld(), changed(config, noise=(), rooms=(), gain_db=(0.0, 0.0), codecs=()))
    assert corpus.train.copies.shape == (len(plain.train), 4) and plain.train.copies is None
    rows, start = np.arange(len(plain.train)), np.zeros(len(plain.train), int)

    def heard(split, copies=None):
        return split.windows(rows, start, 100, copies).numpy()

    np.testing.assert_array_equal(heard(corpus.train), heard(plain.train))
    np.testing.assert_array_equal(heard(corpus.train, 0 * rows), heard(plain.train))
    apart = [np.abs(heard(corpus.train, 0 * rows + copy) - heard(plain.train)).mean((1, 2)) > 0.1 for copy in (1, 2, 3)]
    assert np.mean(apart) > 0.9 and np.isfinite(corpus.train.frames).all()
    for split in ("validation", "test"):
        one, other = getattr(corpus, split), getattr(plain, split)
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.copies is None
    np.testing.assert_array_equal(corpus.train.labels, plain.train.labels)
    assert not torch.equal(corpus.front_end.mean, plain.front_end.mean), "normalisation is of what is trained on"


def test_each_epoch_hears_every_recording_once_in_a_copy_that_is_drawn_anew(config):
    corpus = load_corpus(SoloWorld(), config)
    trainer = Trainer(corpus, SoloGroup(), TrainingConfig(batch_size=8), AS_IT_IS)
    assert trainer.epoch_examples == len(corpus.train) and trainer.steps_per_epoch == len(corpus.train) // 8
    every = [corpus.front_end(corpus.train.windows(np.arange(8), np.zeros(8, int), 100, np.full(8, copy))) for copy in range(4)]
    seen = []
    for epoch in range(8):
        batch, _, _ = trainer._training_batch(np.arange(8), torch.Generator().manual_seed(epoch))
        seen.append([next(copy for copy in range(4) if torch.equal(batch[row], every[copy][row])) for row in range(8)])
    assert {copy for drawn in seen for copy in drawn} == {0, 1, 2, 3} and len({tuple(drawn) for drawn in seen}) > 1


def test_shares_of_any_number_of_ranks_come_to_the_same_file(config, tmp_path):
    index, files = indexed(config), []
    for ranks in (1, 3):
        files.append(tmp_path / f"{ranks}.h5")
        feature_file(files[-1], index, config.data, shares=ranks)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_features_are_made_anew_when_noise_rooms_or_settings_change_and_not_otherwise(config, noises, halls, caplog):
    load_corpus(SoloWorld(), config)
    assert len(feature_files(config)) == 1
    load_corpus(SoloWorld(), replace(config, seed=7))
    assert len(feature_files(config)) == 1, "runs of several seeds share them"
    others = [changed(config, **other) for other in ({"snr_db": (5.0, 10.0)}, {"copies": 3}, {"copies_seed": 1}, {"rooms": ()})]
    names = {features.fingerprint(indexed(one), one.data, one.features.bank) for one in (config, *others)}
    assert len(names) == 5 and feature_files(config)[0].stem in names
    before = identified(indexed(config), config, None)
    used = next(sound for sound in indexed(config).copies["train"][1].noise)
    soundfile.write(used.path, 0.2 * np.random.default_rng(99).standard_normal(30000), 16000)
    assert features.fingerprint(indexed(config), config.data, config.features.bank) not in names
    (change,) = changes(before, identified(indexed(config), config, before))
    assert "1 recording with another content (noises/" in change.what


def test_a_run_knows_its_noise_wherever_that_lies(config, noises, tmp_path):
    before = identified(indexed(config), config, None)
    moved = shutil.move(noises, tmp_path / "elsewhere" / "noises")
    now = identified(indexed(changed(config, noise=(str(moved),))), config, before)
    assert changes(before, now) == []
    (tmp_path / "elsewhere" / "noises" / "00.wav").unlink()
    (tmp_path / "elsewhere" / "noises" / "01.wav").unlink()
    for change in changes(before, identified(indexed(changed(config, noise=(str(moved),))), config, before)):
        assert change.is_addition and "noise: " in change.what and "fewer" in change.what


def test_a_quarter_is_kept_for_tests_and_rooms_stay_together(config, noises, halls):
    for key in ("noise", "rooms"):
        train, test = (surroundings.part(which, key, config.data) for which in ("train", "test"))
        assert len(train) + len(test) == 24 and not {*train} & {*test} and len(train) > len(test) > 0
        if key == "rooms":
            assert not {sound.path.parent for sound in train} & {sound.path.parent for sound in test}
    inside = replace(config.data, rooms=(str(halls), str(halls / "room3")))
    assert surroundings.divided("rooms", inside) == surroundings.divided("rooms", config.data), "each is in one part"
    before = {sound.name for sound in surroundings.part("train", "noise", config.data)}
    shutil.copy(noises / "00.wav", noises / "more.wav")
    assert before <= {sound.name for sound in surroundings.part("train", "noise", config.data)}
    used = {sound.name for sound in surroundings.sounds_of(indexed(config).copies)}
    assert used.isdisjoint(sound.name for key in ("noise", "rooms") for sound in surroundings.part("test", key, config.data))


def snr_db(mixed: np.ndarray, clean: np.ndarray) -> float:
    scale = float(mixed @ clean / (clean @ clean))
    return float(20 * np.log10(np.std(scale * clean) / np.std(mixed - scale * clean)))


def test_noise_comes_at_the_ratio_asked_for_and_depends_on_the_key_alone(noises):
    speech = (0.1 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
    sounds = tuple(Sound(path, path.name) for path in sorted(noises.iterdir()))
    heard = {}
    for key in ("a", "b"):
        for ratio in (20.0, 0.0):
            with Mixer() as mixer:  # the recordings of noise are shorter than the speech, and repeated
                heard[key, ratio] = mixer.heard(speech, Conditions(sounds, (ratio, ratio)), key)
            assert snr_db(heard[key, ratio], speech) == pytest.approx(ratio, abs=0.3)
    assert not np.allclose(heard["a", 0.0], heard["b", 0.0])
    with Mixer() as mixer:
        np.testing.assert_array_equal(mixer.heard(speech, Conditions(sounds, (0.0, 0.0)), "a"), heard["a", 0.0])
        quiet = mixer.heard(speech, Conditions(gain_db=(-20.0, -20.0)), "a")
    np.testing.assert_allclose(quiet, speech / 10, rtol=1e-5)
    loud = 0.99 * speech / np.abs(speech).max()
    with Mixer() as mixer:
        assert np.abs(mixer.heard(loud, Conditions(sounds, (0.0, 0.0)), "a")).max() <= 1 + 1e-6, "nothing is clipped"


def test_a_room_leaves_speech_where_it_is_and_as_loud(halls):
    path = halls / "room0" / "1.wav"
    response = rooms.response(path)
    assert len(response) < 0.32 * RATE and response.argmax() <= rooms.BEFORE_S * RATE + 2, "no way to go"
    click = np.zeros(RATE, np.float32)
    click[5000] = 1.0
    wet = rooms.heard_in(response, click)
    assert len(wet) == RATE and abs(int(np.abs(wet).argmax()) - 5000) <= rooms.BEFORE_S * RATE + 2
    assert (wet**2).mean() == pytest.approx((click**2).mean()) and np.abs(wet[6000:7000]).max() > 1e-3
    late = 0.3 * decaying(1)
    late[480] = 0.9  # a reflection that is louder than what comes directly
    soundfile.write(path, late, RATE, subtype="FLOAT")
    np.testing.assert_allclose(rooms.response(path)[:100], late[120:220], atol=1e-4)
    several = np.stack([decaying(1), np.zeros_like(decaying(1))], axis=1)
    soundfile.write(path, several, RATE, subtype="FLOAT")
    np.testing.assert_allclose(rooms.response(path)[:100], decaying(1)[120:220], atol=1e-4)


NO_RESPONSES = {
    "is too long for an impulse response (10 s at most)": lambda: decaying(decay_s=10.5),
    "is silent, and so no impulse response": lambda: np.zeros(4000),
    "has no clear peak, and so is no impulse response": lambda: 0.1 * np.random.default_rng(0).standard_normal(16000),
    "has no clear onset, and so is no impulse response": lambda: np.concatenate([decaying(3, 0.5)[::-1], np.zeros(8000)]),
    "does not die away, and so is no impulse response": lambda: np.concatenate(
        [decaying(), 0.03 * np.random.default_rng(0).standard_normal(16000)]
    ),
}


def test_what_is_no_impulse_response_is_told_by_kind_or_left_out(config, halls, caplog):
    train = surroundings.part("train", "rooms", config.data)
    for sound, made in zip(train, NO_RESPONSES.values()):
        soundfile.write(sound.path, made(), RATE)
    train[5].path.write_bytes(b"RIFFnothing")
    for sound, told in zip(train, NO_RESPONSES):
        with pytest.raises(DataError) as raised:
            rooms.response(sound.path)
        assert str(raised.value) == f"{sound.path}: {told}"
    config = changed(config, noise=(), codecs=())
    with pytest.raises(DataError, match=r"\d recording\(s\) cannot be used \(1 ") as raised:
        load_corpus(SoloWorld(), config)
    found = sum(told in str(raised.value) for told in (*NO_RESPONSES, "cannot be read as audio"))
    assert "\n" not in str(raised.value) and found >= 5 and 'set data.on_bad_file = "skip"' in str(raised.value)
    with caplog.at_level(logging.WARNING):
        load_corpus(SoloWorld(), changed(config, on_bad_file="skip"))
    assert "recording(s) cannot be used (1 " in caplog.text and "left out" in caplog.text


def test_folders_that_cannot_serve_are_one_line(config, tones, noises, halls, tmp_path):
    (tmp_path / "empty").mkdir()
    for key, name, told in (
        ("noise", tmp_path / "empty", r"data\.noise: .*empty: a folder without recordings"),
        ("rooms", tmp_path / "nowhere", r'data\.rooms: ".*nowhere": no such folder'),
        ("noise", tones / "_background_noise_", r"are in the corpus too, first .*white\.wav; leave them out"),
    ):
        with pytest.raises(DataError, match=told):
            indexed(changed(config, **{key: (str(name),)}))
    for path in list(noises.iterdir()):
        path.unlink() if surroundings.share_of(f"{path.name}, noise") >= surroundings.TEST else None
    with pytest.raises(DataError, match=r"data\.noise: of \d recording\(s\) none falls into the part for training; have more"):
        indexed(config)
    for path in halls.rglob("*.wav"):
        soundfile.write(path, np.zeros(4000), RATE)
    with pytest.raises(DataError, match=r"none of 20 that were drawn can be used: \d+ recording\(s\) cannot be used"):
        load_corpus(SoloWorld(), changed(config, noise=(), on_bad_file="skip"))


def test_noise_of_training_is_not_audio_without_keywords(config, noises):
    index = indexed(config)
    used = index.copies["train"][1].noise[0].path
    with pytest.raises(DataError, match=r"data\.negatives: 1 recording\(s\) are in the corpus too"):
        negatives.index(replace(config.data, negatives=(str(used),)), index, ["low"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("data.snr_db=[20, 0]", "must be a pair, the lower one first"),
        ("data.copies=1", "data.copies = 1: must lie between 2 and 100"),
        ('data.codecs="mp4"', 'data.codecs names "mp4": unknown; known: telephone, opus'),
        ("data.distance_m=[2, 4]", "does not fit into a room of 3 m"),
        ("data.reverberation_s=[0, 1]", "must be above 0"),
        ("data.gain_db=[-200, 0]", "must lie between -100 and 100"),
    ],
)
def test_settings_that_cannot_work_are_told(setting, told):
    with pytest.raises(ConfigError) as raised:
        configuration.load(None, [setting])
    assert told in str(raised.value)


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_keep_length_and_place_and_take_what_they_cannot_carry(codec):
    time_s = np.arange(RATE + 77) / RATE
    speech = 0.1 * sum(np.sin(2 * np.pi * hertz * time_s) for hertz in (1000, 6000)).astype(np.float32)
    out = heard_through(codec, speech)
    assert out.shape == speech.shape and out.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(out)) / len(out)
    low, high = (spectrum[round(hertz * len(out) / RATE)] for hertz in (1000, 6000))
    assert low == pytest.approx(0.05, rel=0.25)
    assert high < 0.001 if codec == "telephone" else high > 0.005
    assert np.corrcoef(np.roll(out, 0), speech)[0, 1] == max(np.corrcoef(np.roll(out, k), speech)[0, 1] for k in range(-4, 5))


def test_simulated_rooms_are_made_once_and_are_impulse_responses(tmp_path, monkeypatch):
    pytest.importorskip("pyroomacoustics")
    monkeypatch.setattr(rooms, "COUNT", 4)
    monkeypatch.setattr(rooms, "HIGHEST_ORDER", 12)
    config = DataConfig(rooms=("simulated",), cache=str(tmp_path))
    folder = rooms.simulated(config, config.cache)
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(made) == 4 and all(len(rooms.response(path)) > 1000 for path in made)
    assert rooms.simulated(config, config.cache) == folder and {p: p.stat().st_mtime_ns for p in folder.iterdir()} == made
    assert rooms.simulated(replace(config, distance_m=(0.5, 1.0)), config.cache) != folder


def test_without_the_library_simulated_rooms_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(DataError, match=r'data\.rooms = "simulated": needs pyroomacoustics .*hpcnas\[rooms\]'):
        rooms.simulated(DataConfig(), str(tmp_path))
    assert not list((tmp_path / "rooms").rglob("*.wav"))


def test_a_recording_that_cannot_be_read_is_counted_once_and_gone_in_all_copies(config, tones, tmp_path, caplog):
    corpus = shutil.copytree(tones, tmp_path / "corpus")
    (corpus / "low" / "s00_nohash_0.wav").write_bytes(b"no audio")
    config = changed(config, path=str(corpus), on_bad_file="skip")
    with caplog.at_level(logging.WARNING):
        found = load_corpus(SoloWorld(), config).train
    assert "1 recording(s) cannot be used (1 cannot be read as audio" in caplog.text
    assert found.copies.shape == (31, 4) and found.rows.tolist() == [row for row in range(32) if row != found_row(config)]
    assert (np.diff(found.copies, axis=1) == 100).all()


def found_row(config) -> int:
    names = ["/".join(example.path.parts[-2:]) for example in indexed(config).splits["train"]]
    return names.index("low/s00_nohash_0.wav")


def test_a_test_of_a_whole_folder_has_no_copies(config):
    index = CorpusIndex(("a",), {"train": (), "validation": (), "test": (Example(Path("a"), 0),)}, ())
    assert surroundings.with_conditions(replace(config.data, all_is_test=True), index) is index
