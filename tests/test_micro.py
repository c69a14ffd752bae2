"""Features of TensorFlow Lite Micro's front end: to the bit those of the package with its C code, wherever they are made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from example_scripts import as_exported, assert_hears_alike, example
from helpers import feature_file
from hypothesis import given
from hypothesis import strategies as st
from pymicro_features import MicroFrontend

from hpcnas import config as configuration
from hpcnas.core.errors import ConfigError
from hpcnas.core.spotting import SpottingConfig
from hpcnas.data import audio, features
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.data.features import FilterBank, log_mel
from hpcnas.data.micro import MicroBank, as_integers
from hpcnas.deploy.files import session
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier, opened
from hpcnas.use.hearing import heard

MICRO = ["--set", "features.kind=micro"]
ROOT = Path(__file__).parent.parent


def own(integers: np.ndarray) -> np.ndarray:
    """(T, 40) what the package gives for 16-bit samples, in the units of the C code."""
    front_end = MicroFrontend()
    calls = [front_end.process_samples(integers[at : at + 160].tobytes()) for at in range(0, len(integers) - 159, 160)]
    values = [call.features for call in calls if call.features]
    return np.array(values).reshape(-1, 40) / 0.0390625


def behind(integers: np.ndarray) -> np.ndarray:
    """With so many zeros behind them that every frame of hpcnas, the half of a hop rounded up, is whole."""
    return np.concatenate([integers, np.zeros(640, np.int16)])


def spoken(length: int, seed: int = 0) -> np.ndarray:
    """16-bit samples of noise that comes and goes."""
    swell = np.sin(np.arange(length) / 3000) ** 2
    return (8000 * swell * np.random.default_rng(seed).standard_normal(length)).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("length", [0, 1, 79, 80, 159, 160, 479, 480, 481, 16000, 16079, 16080, 47999])
def test_a_recording_has_the_package_s_own_features_with_zeros_behind_it(length):
    integers = spoken(length)
    ours = log_mel(integers.astype(np.float32) / 32768, MicroBank())
    assert ours.shape == (40, (length + 80) // 160) == (40, features.frames_of(length / audio.RATE, MicroBank()))
    np.testing.assert_array_equal(64 * ours.T.astype(np.float64), own(behind(integers))[: ours.shape[1]])
    np.testing.assert_array_equal(ours.astype(np.float16), ours, err_msg="the feature file holds them exactly")
    if length >= 16000:
        assert ours.max() > 3 and len(np.unique(ours)) > 200


@given(st.lists(st.integers(0, 20000), max_size=12), st.integers(0, 9))
def test_pieces_of_any_length_come_to_the_same_bits(cuts, seed):
    samples = spoken(20000, seed).astype(np.float32) / 32768
    stream = MicroBank().stream()
    pieces = [stream.push(piece) for piece in np.split(samples, sorted(cuts))]
    heard_so_far = np.concatenate(pieces, axis=1)
    np.testing.assert_array_equal(64 * heard_so_far.T, own(as_integers(samples)), err_msg="a frame as soon as it is whole")
    whole = np.concatenate([heard_so_far, stream.finish()], axis=1)
    np.testing.assert_array_equal(whole, log_mel(samples, MicroBank()))


def test_the_noise_estimate_goes_on_in_a_stream_and_begins_anew_in_a_recording():
    hum = (3000 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32) / 32768
    stream = MicroBank().stream()
    first, second = stream.push(hum[:16000]), stream.push(hum[16000:])
    np.testing.assert_array_equal(log_mel(hum[:16000], MicroBank())[:, :98], first)
    anew = log_mel(hum[16000:], MicroBank())
    assert anew[:, :20].mean() > second[:, 2:22].mean() + 1, "hum that begins is heard; hum that goes on is noise"


@pytest.mark.parametrize(
    ("sample", "expected"),
    [(0.0, 0), (1.0, 32767), (2.5, 32767), (-1.0, -32768), (-1.1, -32768), (0.5 / 32768, 0), (1.5 / 32768, 2)],
)
def test_samples_become_the_nearest_integers_and_are_clipped_at_full_scale(sample, expected):
    assert as_integers(np.array([sample], np.float32)).tolist() == [expected]


def test_integers_of_a_recording_come_back_as_they_were(tmp_path):
    integers = np.arange(-32768, 32768).astype(np.int16)
    soundfile.write(tmp_path / "all.wav", integers, audio.RATE, subtype="PCM_16")
    np.testing.assert_array_equal(as_integers(audio.read(tmp_path / "all.wav")), integers)


def test_the_kind_brings_its_own_settings_and_keeps_them_when_written_down(tmp_path):
    config = configuration.load(None, ["features.kind=micro"])
    assert config.features.bank == MicroBank() and (config.features.window_ms, config.features.high_hz) == (30, 7500)
    (tmp_path / "config.toml").write_text(configuration.dump(config))
    assert configuration.load(tmp_path / "config.toml") == config
    kaldi = configuration.load(None, ["features.kind=mfcc"])
    assert kaldi.features.bank == FilterBank() and kaldi.features.window_ms == 25
    assert any("features.kind" in line for line in configuration.differences(kaldi, config))


@pytest.mark.parametrize(
    ("key", "value", "only"),
    [
        ("bands", "20", "40"),
        ("window_ms", "25", "30.0"),
        ("hop_ms", "20", "10.0"),
        ("low_hz", "20", "125.0"),
        ("high_hz", "7600", "7500.0"),
    ],
)
def test_settings_that_the_c_code_of_the_package_does_not_have_are_refused(key, value, only):
    with pytest.raises(ConfigError, match=rf"features\.{key} = {value}.*: must be {only}, .* or leave it out"):
        configuration.load(None, ["features.kind=micro", f"features.{key}={value}"])


@pytest.mark.parametrize("setting", ["augmentation.volume_db=6", "tuning.volume_db=[0, 6]"])
def test_there_is_no_level_to_vary(setting):
    configuration.load(None, [setting])
    with pytest.raises(ConfigError, match=rf"{setting.partition('=')[0]} = .*6.*takes the level out.*leave it out"):
        configuration.load(None, ["features.kind=micro", setting])


def tones_config(tones: Path, tmp_path: Path, *more: str) -> configuration.Config:
    given = [
        "data.name=speech_commands",
        f"data.path={tones}",
        'data.keywords=["low", "mid", "high"]',
        f"data.cache={tmp_path}",
    ]
    return configuration.load(None, [*given, *more])


def test_what_is_judged_has_the_package_s_own_features_in_a_file_of_its_own(tones, tmp_path):
    corpus = load_corpus(SoloWorld(), tones_config(tones, tmp_path, "features.kind=micro"))
    expected = {}
    for path in tones.glob("*/*.wav"):
        integers, _ = soundfile.read(path, dtype="int16")
        padded = np.concatenate([integers, np.zeros(16000, np.int16)])[:16000]
        expected[own(behind(padded))[:100].tobytes()] = path
    names, seen = list(corpus.class_names), set()
    for split in (corpus.validation, corpus.test):
        for start, length, label in zip(split.starts, split.lengths, split.labels):
            if names[label] != "_silence_":  # whose volume is varied
                path = expected[(64 * np.asarray(split.frames[start : start + length], np.float64)).tobytes()]
                assert path.parent.name == names[label] or names[label] == "_unknown_"
                seen.add(path)
    assert len(seen) == 14, "of each split six keywords and a tenth as many other words"
    # A bank of Kaldi's with the same numbers is another one.
    alike = ["features.window_ms=30", "features.low_hz=125", "features.high_hz=7500"]
    load_corpus(SoloWorld(), tones_config(tones, tmp_path, *alike))
    assert len(list((tmp_path / "features").glob("*.h5"))) == 2


@pytest.fixture
def stretches(tmp_path) -> CorpusIndex:
    """Twenty seconds of a long recording in disorder, and one that cannot be read; the same in training and test."""
    soundfile.write(tmp_path / "long.wav", spoken(20 * 16000), audio.RATE, subtype="PCM_16")
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    order = np.random.default_rng(0).permutation(20).tolist()
    parts = (
        *(Example(tmp_path / "long.wav", 0, float(second), 1.0) for second in order),
        Example(tmp_path / "bad.wav", 0, 0.0, 1.0),
    )
    return CorpusIndex(("one",), {"train": parts, "validation": (), "test": parts}, ())


def frames_by_split(folder: Path, index: CorpusIndex, bank: FilterBank, ranks: int) -> dict[str, np.ndarray]:
    """(20, 100, 40) of training and test."""
    data = DataConfig(on_bad_file="skip")
    feature_file(folder / "f.h5", index, data, bank, ranks)
    parts = features.load(folder / "f.h5").parts
    of = {name: np.asarray(parts[name].frames, np.float64).reshape(21, 100, 40) for name in ("train", "test")}
    assert all(len(parts[name].starts) == 20 for name in of)
    return {name: frames[:20] for name, frames in of.items()}


def test_half_of_the_training_examples_are_heard_after_another_one_and_all_others_by_themselves(stretches, tmp_path):
    made = frames_by_split(tmp_path, stretches, MicroBank(), ranks=1)
    integers, _ = soundfile.read(tmp_path / "long.wav", dtype="int16")
    seconds = [integers[round(16000 * e.start_s) :][:16000] for e in stretches.splits["train"][:20]]
    alone = [own(behind(second))[:100] for second in seconds]
    np.testing.assert_array_equal(64 * made["test"], np.stack(alone))
    before = []
    for row, frames in enumerate(64 * made["train"]):
        if not np.array_equal(frames, alone[row]):
            after = (own(behind(np.concatenate([other, seconds[row]])))[100:200] for other in seconds)
            before.append(next(number for number, one in enumerate(after) if np.array_equal(one, frames)))
    assert 5 <= len(before) <= 15 and len(set(before)) >= 4, before
    many = frames_by_split(tmp_path, stretches, MicroBank(), ranks=3)
    assert all(np.array_equal(many[name], made[name]) for name in made), "whichever rank makes them"


def test_a_bank_that_does_not_remember_hears_all_by_themselves(stretches, tmp_path):
    made = frames_by_split(tmp_path, stretches, FilterBank(), ranks=1)
    np.testing.assert_array_equal(made["train"], made["test"])


def test_without_the_package_one_line_says_how_to_get_it_and_nothing_is_made(tones, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymicro_features", None)
    config = tones_config(tones, tmp_path / "cache", "features.kind=micro")

    def find() -> CorpusIndex:
        pytest.fail("looked for recordings")

    with pytest.raises(ConfigError, match=r"needs pymicro-features .*: pip install 'hpcnas\[micro\]'$"):
        load_corpus(SoloWorld(), config, find=find)
    with pytest.raises(ConfigError, match=r"pip install 'hpcnas\[micro\]'"):
        MicroBank().stream()
    assert not (tmp_path / "cache").exists()


def test_a_program_says_it_in_one_line_too(mpirun_once, tiny, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pymicro_features.py").write_text("raise ImportError('not here')\n")
    command = [sys.executable, "-m", "hpcnas.search", *tiny, *MICRO, "--run", str(tmp_path / "run")]
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    done = subprocess.run(command, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    told = [line for line in done.stderr.splitlines() if "pymicro" in line]
    assert done.returncode == 2 and len(told) == 1 and "pip install 'hpcnas[micro]'" in told[0], done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "cache" / "features").exists()


def test_other_kinds_never_load_the_package():
    program = (
        "import sys, numpy; import hpcnas.evaluate, hpcnas.detect, hpcnas.export; from hpcnas import config\n"
        "from hpcnas.data.features import log_mel\n"
        "log_mel(numpy.zeros(1600, numpy.float32), config.load(None, ['features.kind=pcen']).features.bank)\n"
        "assert not [name for name in sys.modules if 'micro' in name and not name.startswith('hpcnas')]"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(mpirun_once, tiny_once, tmp_path_factory) -> RunDir:
    """A search of causal models of these features, with its exports: ``best.onnx`` and ``stream.onnx``."""
    root = tmp_path_factory.mktemp("micro") / "run"
    causal = ["--set", "space.causal=true", "--set", "training.epochs=40", "--set", "search.max_trials=3"]
    done = mpirun_once(2, "hpcnas.search", *tiny_once, *MICRO, *causal, "--run", str(root))
    assert done.returncode == 0, done.output
    for more in (["--out", str(root / "best.onnx")], ["--stream", "--out", str(root / "stream.onnx")]):
        done = mpirun_once(1, "hpcnas.export", str(root), "--model", "best", *more)
        assert done.returncode == 0 and "largest difference of a logit" in done.output, done.output
    return RunDir(root)


@pytest.fixture(scope="module")
def long_wav(tones, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.wav"
    low, quiet = (
        soundfile.read(tones / name, dtype="int16")[0] for name in ("low/s10_nohash_0.wav", "_background_noise_/white.wav")
    )
    soundfile.write(path, np.concatenate([quiet[:32000], low, quiet[:32000]]), audio.RATE, subtype="PCM_16")
    return path


def test_a_search_is_evaluated_beside_one_with_other_features(run, causal_run, mpirun_once, tmp_path):
    own = shutil.copytree(run.root, tmp_path / "run")  # whose temperature others of these tests are not to know
    done = mpirun_once(1, "hpcnas.evaluate", str(own), "--model", "best", "--against", f"{causal_run.root}:best", "--json")
    assert done.returncode == 0, done.output
    values = json.loads(done.output)
    assert values["examples"] == 9 and values["figures"]["accuracy"]["value"] > 0.4, "chance: two of nine"
    assert configuration.load(run.config).features.kind == "micro"


def test_a_keyword_is_detected_in_a_long_recording(run, long_wav, mpirun_once):
    done = mpirun_once(1, "hpcnas.detect", str(run.root), str(long_wav), "--model", "best", "--json", "--threshold", "0.0")
    assert done.returncode == 0, done.output
    found = [json.loads(line) for line in done.output.splitlines()]
    best = max((one for one in found if one["keyword"] == "low"), key=lambda one: one["score"])
    assert 1.4 < best["time_s"] < 3.1, done.output


@pytest.mark.parametrize("causal", [True, False])
def test_live_audio_in_pieces_is_heard_like_the_recording(run, long_wav, causal):
    one = Classifier.open(run, "best")
    one = replace(one, config=replace(one.config, space=replace(one.config.space, causal=causal)))
    assert one.can_listen == causal
    samples = audio.read(long_wav)
    if causal:
        pieces = [samples[at : at + 160] for at in range(0, len(samples), 160)]
        times_s, logits = zip(*one.listen(pieces))
        assert times_s[0] == 1.0 and times_s[-1] == pytest.approx((len(samples) // 160 - 2) / 100)
        integers, _ = soundfile.read(long_wav, dtype="int16")
        np.testing.assert_array_equal(
            logits[-1], whole_tower(one, own(integers) / 64), err_msg="features are the package's own"
        )
    else:
        times_s, logits = one.scan(samples, 0.1)
        cut = list(one.scan_blocks(np.array_split(samples, 37), 0.1))
        np.testing.assert_array_equal(np.concatenate([of for _, of in cut]), logits)
    whole = heard(one, samples, 0.0, SpottingConfig())
    assert whole and whole == heard(one, samples.copy(), 0.0, SpottingConfig())


def whole_tower(one: Classifier, frames_TF: np.ndarray) -> np.ndarray:
    """(K,) the newest logits of given features, fed frame by frame."""
    state, kept = None, torch.zeros(0)
    with torch.no_grad():
        for frame in frames_TF:
            seen = one.front_end(torch.from_numpy(frame.astype(np.float32)).view(1, -1, 1))
            new, state = one.model.models[0].stream_tower(seen, state)
            kept = torch.cat([kept, new], -1)[..., -one.outputs_of_a_window[0] :] if kept.numel() else new
        return one.model.models[0].judge(kept)[0].numpy()


def test_exported_graphs_say_what_makes_their_features(run):
    about = json.loads(session(run.root / "best.onnx").get_modelmeta().custom_metadata_map["hpcnas"])
    assert "kaldi_fbank" not in about, "who does not know these features cannot feed others"
    settings = about["micro_frontend"]
    assert settings["window"] == {"size_ms": 30, "step_size_ms": 10} and settings["scale"] == 1 / 64
    assert settings["filterbank"] == {"num_channels": 40, "lower_band_limit": 125.0, "upper_band_limit": 7500.0}
    assert settings["log_scale"]["scale_shift"] == 6, "64 times the logarithm"


@pytest.mark.parametrize("name", ["low/s10_nohash_0.wav", "_background_noise_/white.wav"])
def test_the_example_gives_the_classifier_s_answer(run, tones, name):
    script, graph = example("run_onnx"), session(run.root / "best.onnx")
    about = json.loads(graph.get_modelmeta().custom_metadata_map["hpcnas"])
    ours = script.posteriors(graph, about, script.read(str(tones / name), about))
    theirs = as_exported(Classifier.open(run, "best"), about).predict(audio.read(tones / name)).posteriors
    np.testing.assert_allclose(ours, [theirs[name] for name in about["class_names"]], atol=1e-4)
    samples = audio.read(tones / name)
    np.testing.assert_array_equal(script.micro(samples, about), log_mel(samples, MicroBank()))


def test_the_streaming_example_hears_what_the_classifier_hears(run, long_wav):
    graph, samples = session(run.root / "stream.onnx"), audio.read(long_wav)
    about = json.loads(graph.get_modelmeta().custom_metadata_map["hpcnas"])
    listened = example("stream_onnx").listen(graph, about, np.array_split(samples, 50))
    assert_hears_alike(listened, as_exported(Classifier.open(run, "best"), about), samples)


def test_the_examples_run_as_programs(run, long_wav):
    for script, graph in (("run_onnx", "best.onnx"), ("stream_onnx", "stream.onnx")):
        command = [sys.executable, str(ROOT / "examples" / f"{script}.py"), str(run.root / graph), str(long_wav)]
        done = subprocess.run(command, text=True, capture_output=True)
        assert done.returncode == 0 and done.stdout.count("\t") >= 2, done.stderr


def test_a_model_in_one_file_still_hears_so(run, mpirun_once, long_wav):
    path = run.root / "best.h5"
    done = mpirun_once(1, "hpcnas.export", str(run.root), "--model", "best", "--format", "state_dict", "--out", str(path))
    assert done.returncode == 0, done.output
    assert opened(path, None).predict(audio.read(long_wav)) == Classifier.open(run, "best").predict(audio.read(long_wav))
