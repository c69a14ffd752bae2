import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import feature_file

from hpcnas.core.errors import DataError
from hpcnas.data import audio, features, problems, speech_commands, synthetic
from hpcnas.data.corpus import SPLITS, DataConfig
from hpcnas.data.features import FilterBank, log_mel

KEYWORDS = ("low", "mid", "high")
ARSC12 = Path(__file__).parent.parent.parent / "shared" / "data" / "arsc12"


def config(path: Path, **changes) -> DataConfig:
    return DataConfig(
        **{"name": "speech_commands", "path": str(path), "keywords": KEYWORDS, "unknown_percent": 100.0, **changes}
    )


@pytest.fixture
def copy(tones: Path, tmp_path: Path) -> Path:
    """A copy of the tones to break."""
    return shutil.copytree(tones, tmp_path / "tones")


def test_twelve_class_protocol_adds_unknown_and_silence(tones):
    index = speech_commands.index(config(tones))
    assert index.class_names == (*KEYWORDS, "_unknown_", "_silence_")
    counts = {split: np.bincount([e.label for e in index.splits[split]]).tolist() for split in SPLITS}
    assert counts == {"train": [8, 8, 8, 8, 3], "validation": [2, 2, 2, 2, 1], "test": [2, 2, 2, 2, 1]}


def test_all_words_protocol_has_a_class_per_folder(tones):
    index = speech_commands.index(config(tones, protocol="all"))
    assert index.class_names == ("high", "low", "mid", "other")
    assert len(index.examples) == 48


def test_splits_follow_the_lists_and_share_no_recording(tones):
    index = speech_commands.index(config(tones, protocol="all"))
    paths = {split: {e.path for e in index.splits[split]} for split in SPLITS}
    assert not paths["train"] & paths["test"] and not paths["train"] & paths["validation"]
    assert {p.name[:3] for p in paths["test"]} == {"s10", "s11"}


def test_without_lists_each_speaker_is_in_one_split(copy):
    for name in ("validation_list.txt", "testing_list.txt"):
        (copy / name).unlink()
    recordings = sorted(copy.glob("*/*_nohash_0.wav"))
    for path in recordings:  # more speakers, so that no split is empty
        for extra in range(4):
            shutil.copy(path, path.with_name(path.name.replace("_nohash", f"x{extra}_nohash")))
    shares = {"validation_percent": 30.0, "test_percent": 30.0}
    index = speech_commands.index(config(copy, protocol="all", **shares))
    speakers = {split: {e.path.name.split("_")[0] for e in index.splits[split]} for split in SPLITS}
    assert all(speakers.values()) and sum(map(len, speakers.values())) == len(set().union(*speakers.values())) == 60
    assert index == speech_commands.index(
        config(copy, protocol="all", **shares),
    )


def test_other_formats_than_wav_are_found(copy):
    path = copy / "low" / "s00_nohash_0.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path.with_suffix(".flac"), samples, rate)
    path.unlink()
    index = speech_commands.index(config(copy, protocol="all"))
    assert len(index.examples) == 48 and any(e.path.suffix == ".flac" for e in index.examples)


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda root: shutil.rmtree(root), "no such folder"),
        (lambda root: (root / "testing_list.txt").unlink(), "testing_list.txt: missing"),
        (lambda root: shutil.rmtree(root / "mid"), 'no folder for keyword "mid"'),
        (lambda root: [p.unlink() for p in (root / "mid").iterdir()], "mid: a folder without recordings"),
        (lambda root: (root / "testing_list.txt").write_text(""), "the test split is empty"),
        (lambda root: shutil.copy(root / "validation_list.txt", root / "testing_list.txt"), "8 recording.* are in both lists"),
        (lambda root: (root / "testing_list.txt").write_bytes(b"\xe9t\xe9/a.wav"), "testing_list.txt, line 1: is not UTF-8"),
        (lambda root: (root / "_background_noise_" / "white.wav").write_bytes(b"no audio"), "white.wav.*on_bad_file"),
        (lambda root: shutil.copytree(root / "other", root / "o\nther"), "must be printable text, unlike 'o.nther'"),
        (lambda root: shutil.rmtree(root / "_background_noise_"), "silence_percent = 0"),
    ],
)
def test_a_broken_corpus_is_refused_by_name(copy, breakage, message):
    breakage(copy)
    with pytest.raises(DataError, match=message):
        speech_commands.index(config(copy, protocol="all" if "printable" in message else "12"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be read as audio"), (b"no audio at all", "cannot be read as audio")],
    ids=["empty", "text"],
)
def test_a_file_that_is_no_audio_is_named(tmp_path, content, message):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.wav: {message}"):
        audio.read(path)


def test_a_recording_without_samples_is_named(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16000)
    for look in (audio.read, audio.duration_s):
        with pytest.raises(DataError, match="holds no samples"):
            look(tmp_path / "silent.wav")


@pytest.mark.parametrize(("suffix", "cut"), [("wav", 2), ("wav", 16000), ("flac", 8000)])
def test_a_recording_that_was_cut_off_is_named(tmp_path, suffix, cut):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    assert len(audio.read(path)) == 16000
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"ends before its header says|cannot be read as audio"):
        audio.read(path)


def test_a_recording_written_into_a_pipe_whose_header_has_no_size_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * np.ones(1600), 16000)
    content = path.read_bytes()
    for size in (0, 0x7FFFF024, 0xFFFFFFFF):
        path.write_bytes(content[:4] + size.to_bytes(4, "little") + content[8:])
        assert len(audio.read(path)) == 1600


def test_a_recording_that_is_not_there_or_has_an_odd_name(tmp_path):
    with pytest.raises(DataError, match=r"gone\.wav: cannot be read as audio \(No such file or directory"):
        audio.read(tmp_path / "gone.wav")
    odd = tmp_path / os.fsdecode(b"\xe4\n.wav")
    soundfile.write(os.fsencode(odd), np.ones(1600), 16000, format="WAV")
    assert audio.duration_s(odd) == 0.1 and len(audio.read(odd)) == 1600
    shown = problems.summary([problems.of(odd, DataError(f"{odd}: is odd; away with it"))])
    assert shown.isprintable() and "1 is odd: " in shown and r"\udce4\n.wav" in shown


def test_noise_that_cannot_be_read_is_left_out_if_that_is_wanted(copy):
    (copy / "_background_noise_" / "broken.wav").write_bytes(b"no audio")
    index = speech_commands.index(config(copy, on_bad_file="skip"))
    assert {noise.path.name for noise in index.noise} == {"white.wav"}


def test_stretches_of_noise_are_as_long_as_a_long_window(tones, tmp_path):
    data = config(tones, protocol="all", window_s=12.0)
    assert set(extract(tmp_path / "f.h5", data, 1).parts["noise"].lengths) == {1200}
    assert set(extract(tmp_path / "g.h5", config(tones), 1).parts["noise"].lengths) == {1000}


@pytest.mark.parametrize(
    ("rate", "channels", "suffix"), [(8000, 1, "wav"), (44100, 2, "wav"), (48000, 1, "flac"), (16000, 2, "ogg")]
)
def test_other_rates_channels_and_formats_sound_the_same(tmp_path, rate, channels, suffix):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(tmp_path / f"a.{suffix}", np.stack([tone] * channels, 1) * 0.5, rate)
    samples = audio.read(tmp_path / f"a.{suffix}")
    assert abs(len(samples) - audio.RATE) <= 2
    spectrum = np.abs(np.fft.rfft(samples, audio.RATE))
    assert spectrum.argmax() == 440 and np.abs(samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.03)


def test_log_mel_finds_a_tone_in_its_band():
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(audio.RATE) / audio.RATE).astype(np.float32)
    mel = log_mel(tone, FilterBank())
    assert mel.shape == (40, 100) and mel.dtype == np.float32 and np.isfinite(log_mel(0 * tone, FilterBank())).all()
    mels = 1127 * np.log(1 + np.array([20, 1000, 7600]) / 700)
    assert abs(mel[:, 10:90].mean(1).argmax() + 0.5 - 40 * (mels[1] - mels[0]) / (mels[2] - mels[0])) < 1


def extract(path: Path, data: DataConfig, parts: int) -> features.Features:
    index = speech_commands.index(data)
    feature_file(path, index, data, shares=parts)
    return features.load(path)


def test_features_made_by_many_ranks_equal_those_made_by_one(tones, tmp_path):
    one, many = (extract(tmp_path / f"{parts}.h5", config(tones), parts) for parts in (1, 5))
    for name, recordings in one.parts.items():
        np.testing.assert_array_equal(recordings.frames, many.parts[name].frames)
        np.testing.assert_array_equal(recordings.labels, many.parts[name].labels)
        assert np.asarray(many.parts[name].frames).any(axis=1).all(), "no row was left out"
    train = one.parts["train"]
    assert isinstance(train.frames, np.memmap), "mapped, not copied"
    assert set(train.lengths) == {100} and train.starts.tolist() == list(range(0, 100 * len(train.labels), 100))


def test_recordings_that_cannot_be_read_are_counted_by_reason_and_left_out(copy, tmp_path):
    (copy / "low" / "s00_nohash_0.wav").write_bytes(b"no audio")
    (copy / "mid" / "s01_nohash_0.wav").write_bytes(b"no audio")
    soundfile.write(copy / "high" / "s00_nohash_0.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    data, path = config(copy, on_bad_file="skip"), tmp_path / "f.h5"
    index = speech_commands.index(data)
    (share,) = feature_file(path, index, data)
    text = problems.summary([one.problem for one in share.bad])
    assert "3 recording(s)" in text and "2 cannot be read as audio" in text and "1 holds samples that are not finite" in text
    assert str(copy / "mid" / "s01_nohash_0.wav") in text
    train = features.load(path).parts["train"]
    assert len(train.labels) == len(index.splits["train"]) - 3 == len(train.starts)
    assert train.starts[0] == 100, "the first one was left out"


def test_the_fingerprint_changes_with_files_and_settings(copy):
    def fingerprint(**changes) -> str:
        data = config(copy)
        return features.fingerprint(speech_commands.index(data), data, FilterBank(**changes))

    first = fingerprint()
    assert fingerprint() == first and fingerprint(bands=20) != first
    soundfile.write(copy / "low" / "s00_nohash_0.wav", np.ones(100), 16000)
    assert fingerprint() != first


needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="no eSpeak NG here: pip install 'hpcnas[speech]'"
)


@needs_espeak
def test_built_in_speech_repeats_to_the_sample_with_disjoint_voices(tmp_path):
    size = synthetic.Size(keyword=(8, 4, 4), other=(1, 1, 1))
    for name in ("one", "two"):
        synthetic.synthesise(tmp_path / name, ("yes", "no"), size)
    assert (tmp_path / "one" / "README.txt").read_text() == (tmp_path / "two" / "README.txt").read_text()
    data = config(tmp_path / "one", keywords=("yes", "no"))
    index = synthetic.index(data)
    voices = {s: {e.path.name.split("_nohash")[0].split("-")[-1] for e in index.splits[s] if e.start_s == 0} for s in SPLITS}
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["validation"]
    samples = audio.read(index.splits["train"][0].path)
    assert len(samples) == audio.RATE and 0.05 < np.abs(samples).max() <= 0.9


def test_without_espeak_the_built_in_speech_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install"):
        synthetic.synthesise(tmp_path / "speech", ("yes",))
    assert not list(tmp_path.iterdir()), "nothing half made is left"


@pytest.mark.skipif(not ARSC12.is_dir(), reason=f"no subset of Arabic Speech Commands (the README has its address) in {ARSC12}")
def test_real_recordings_load_in_the_published_split():
    keywords = ("yes", "no", "up", "down", "left", "right", "start", "stop", "forward", "backward")
    index = speech_commands.index(config(ARSC12, keywords=keywords, silence_percent=14.7))
    assert {split: len(index.splits[split]) for split in SPLITS} == {"train": 1171, "validation": 389, "test": 378}
    speakers = {s: {e.path.name[:4] for e in index.splits[s] if e.label < 11} for s in SPLITS}
    assert [len(speakers[s]) for s in SPLITS] == [18, 6, 6]
