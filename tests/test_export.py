"""Models that left hpcnas, as the documentation and the examples use them."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from example_scripts import as_exported, assert_hears_alike, example

from hpcnas import export
from hpcnas.core.errors import ExportError
from hpcnas.data import audio
from hpcnas.deploy import microcontroller
from hpcnas.deploy.files import session
from hpcnas.export import main
from hpcnas.use.classifier import Classifier, opened

ROOT = Path(__file__).parent.parent
RUNTIMES = {
    "run_onnx.py": {"onnxruntime"},
    "stream_onnx.py": {"onnxruntime"},
    "run_litert.py": {"ai_edge_litert"},
    "run_executorch.py": {"executorch", "torch"},
}
LITERT_IS_HERE = importlib.util.find_spec("litert_torch") is not None
EXECUTORCH_IS_HERE = importlib.util.find_spec("executorch") is not None
WORDS = {"litert": LITERT_IS_HERE, ".tflite": LITERT_IS_HERE, "executorch": EXECUTORCH_IS_HERE}
"""Of documented commands that take packages which need not be here."""
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

ONE_PROCESS = """
import runpy, shlex, sys
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    python, *arguments = shlex.split(line)
    assert python == "python"
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
"""
"""Runs commands as a shell would, but loads torch once."""


@pytest.fixture(scope="module")
def folder(finished_run, tones) -> Path:
    """Where the documentation's commands work."""
    place = finished_run.root.parent.parent
    for name, target in (("examples", ROOT / "examples"), ("corpus", tones)):
        if not (place / name).exists():
            (place / name).symlink_to(target)
    low, quiet = (soundfile.read(tones / name)[0] for name in ("low/s10_nohash_0.wav", "_background_noise_/white.wav"))
    soundfile.write(place / "recording.wav", np.concatenate([quiet[:3000], low, quiet[:15000]]), audio.RATE)
    soundfile.write(place / "long.wav", np.concatenate([quiet, low, quiet]), audio.RATE)
    return place


def commands(folder: Path, lines: list[str]) -> str:
    """Output of commands; they must end with status 0."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS], input="\n".join(lines), text=True, cwd=folder, timeout=240,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)


@pytest.fixture(scope="module")
def documented(folder) -> str:
    """What the commands of docs/deploy.md and docs/tracking.md print, all run in order; their files lie in ``folder``."""
    lines = "".join([*blocks("deploy.md", "sh"), *blocks("tracking.md", "sh")]).splitlines()
    assert len(lines) >= 16
    return commands(folder, [line for line in lines if all(here for word, here in WORDS.items() if word in line)])


def test_the_documented_commands_run_and_tell_what_was_measured(documented):
    assert documented.count("largest difference of a logit") >= 9 and "points" in documented and "on noise" in documented
    assert re.search("misses at .* false alarms? an hour.*: not told, ", documented), "evaluate took the file"
    assert documented.count(" ms for one step of 16 frames") == 1


@pytest.mark.skipif(not LITERT_IS_HERE, reason="no LiteRT here: pip install 'hpcnas[litert]'")
def test_litert_s_commands_tell_what_was_measured_and_nothing_else(documented, folder):
    words = documented.split("$ python ")
    exported = [one for one in words if "--format litert" in one]
    assert len(exported) == 3 and any("kws.int8.tflite" in one and "points" in one for one in exported)
    told = (
        r"-m hpcnas|\S+\.tflite: \d+ kB|  largest difference of a logit|  test accuracy|  [\d.]+ ms for one"
        r"|  tflite-micro needs [\d.]+ kB|  not tried in tflite-micro|kws.h, kws.cc: the same as a C array, [\d.]+ kB of flash"
    )
    for line in "".join(exported).splitlines():
        assert re.match(told, line), line
    heard = [one.splitlines()[1:] for one in words if one.startswith("examples/run_litert.py")]
    classes = "|".join(described(folder / "kws.onnx")["class_names"])
    assert len(heard) == 3
    for line in (line for lines in heard for line in lines):
        assert re.fullmatch(rf"(recording|long)\.wav\t([\d.]+ s\t)?({classes})\t[01]\.\d{{4}}", line), line
    if microcontroller.is_here():
        assert "kGraphSize" in (folder / "kws.h").read_text() and "0x54, 0x46, 0x4c, 0x33" in (folder / "kws.cc").read_text()


@pytest.mark.skipif(not LITERT_IS_HERE, reason="no LiteRT here: pip install 'hpcnas[litert]'")
@pytest.mark.parametrize("recording", ["recording.wav", "long.wav", "corpus/mid/s11_nohash_0.wav"])
def test_litert_s_example_gives_the_classifier_s_answer(recording, documented, folder, finished_run):
    run, path = example("run_litert"), str(folder / "kws.tflite")
    about = run.description(path)
    ours = run.posteriors(run.Graph(path), about, audio.read(folder / recording))
    theirs = as_exported(Classifier.open(finished_run, "best"), about).predict(audio.read(folder / recording)).posteriors
    np.testing.assert_allclose(ours, [theirs[name] for name in about["class_names"]], atol=1e-4)


@pytest.mark.skipif(not EXECUTORCH_IS_HERE, reason="no ExecuTorch here: pip install 'hpcnas[executorch]'")
def test_executorch_s_commands_tell_what_was_measured_and_nothing_else(documented, folder, finished_run):
    words = documented.split("$ python ")
    exported = "".join(one for one in words if "--format executorch" in one).splitlines()
    told = r"-m hpcnas|\S+\.pte: \d+ kB|  largest difference of a logit|  test accuracy|  [\d.]+ ms for one"
    assert len(exported) == 10 and all(re.match(told, line) for line in exported), exported
    heard = [one for one in words if one.startswith("examples/run_executorch.py")]
    assert len(heard) == 2 and re.search(r"recording\.wav\t(low|mid|high|\w+)\t[01]\.\d{4}", heard[0]) and " s\t" in heard[1]
    graph, run = example("run_executorch").Graph(str(folder / "kws.pte")), example("run_executorch")
    for recording in ("recording.wav", "long.wav", "corpus/mid/s11_nohash_0.wav"):
        samples = audio.read(folder / recording)
        ours = run.posteriors(graph, graph.described, samples)
        theirs = as_exported(Classifier.open(finished_run, "best"), graph.described).predict(samples).posteriors
        np.testing.assert_allclose(ours, [theirs[name] for name in graph.described["class_names"]], atol=1e-4)


@pytest.mark.parametrize("number", range(len(blocks("library.md", "python"))))
def test_the_documented_pieces_of_the_library_work(number, documented, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(compile(blocks("library.md", "python")[number], f"library.md, block {number}", "exec"), {})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_do_without_hpcnas(path):
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module).split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported - set(sys.stdlib_module_names) <= {
        "numpy", "kaldi_native_fbank", "pymicro_features", "soundfile", *RUNTIMES[path.name],
    }  # fmt: skip


def described(path: Path) -> dict:
    return json.loads(session(path).get_modelmeta().custom_metadata_map["hpcnas"])


@pytest.mark.parametrize(("file", "model"), [("runs/kws/export/ensemble.onnx", "ensemble"), ("kws-fixed.onnx", "best")])
@pytest.mark.parametrize("recording", ["recording.wav", "long.wav", "corpus/mid/s11_nohash_0.wav"])
def test_the_example_gives_the_classifier_s_answer(file, model, recording, documented, folder, finished_run):
    run, about = example("run_onnx"), described(folder / file)
    ours = run.posteriors(session(folder / file), about, run.read(folder / recording, about))
    theirs = as_exported(Classifier.open(finished_run, model), about).predict(audio.read(folder / recording)).posteriors
    np.testing.assert_allclose(ours, [theirs[name] for name in about["class_names"]], atol=1e-4)


def test_the_streaming_example_hears_what_the_classifier_hears(documented, folder, finished_run):
    samples, about = audio.read(folder / "long.wav"), described(folder / "kws-stream.onnx")
    listened = example("stream_onnx").listen(session(folder / "kws-stream.onnx"), about, np.array_split(samples, 50))
    assert_hears_alike(listened, as_exported(Classifier.open(finished_run, "best"), about), samples)


def test_the_examples_print_class_and_score_and_load_nothing_else(documented, folder):
    lines = ["python examples/run_onnx.py kws.onnx recording.wav", "python examples/stream_onnx.py kws-stream.onnx long.wav"]
    last = "assert not {'hpcnas', 'torch', 'onnx'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{ONE_PROCESS}\n{last}"], input="\n".join(lines), text=True, cwd=folder, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    name, score = re.search(r"recording.wav\t(\S+)\t(\S+)", done.stdout).groups()
    assert name in described(folder / "kws.onnx")["class_names"] and 0 < float(score) <= 1


@pytest.mark.parametrize(
    ("script", "file", "message"),
    [("run_onnx", "kws-stream.onnx", "see stream_onnx.py"), ("stream_onnx", "kws.onnx", "export it with --stream")],
)
def test_examples_say_which_of_them_a_file_is_for(script, file, message, documented, folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script, str(folder / file), str(folder / "long.wav")])
    with pytest.raises(SystemExit, match=message):
        example(script).main()


def test_the_metadata_has_the_figures_that_evaluate_gives(documented, folder):
    out = commands(folder, ["python -m hpcnas.evaluate kws.h5 --json"])
    figures = json.loads(out[out.index("{") :])["figures"]
    about = described(folder / "runs/kws/export/ensemble.onnx")
    for ours, theirs in (("test_accuracy", "accuracy"), ("test_cross_entropy", "cross entropy")):
        assert about["metrics"][ours] == pytest.approx(figures[theirs]["value"], abs=1e-5)


def test_importing_hpcnas_loads_no_torch_and_starts_no_mpi():
    program = (
        "EXTRAS = 'litert_torch', 'ai_edge_litert', 'ai_edge_quantizer', 'tflite_micro', 'flatbuffers', 'jax', 'executorch'\n"
        "import sys, hpcnas; from hpcnas import Run; assert not {'torch', 'mpi4py'} & set(sys.modules)\n"
        "from hpcnas import Classifier, audio; import hpcnas.export\n"
        "assert 'torch' in sys.modules and not {'mpi4py', 'horovod', 'onnx', 'onnxruntime', *EXTRAS} & set(sys.modules)\n"
        "assert set(hpcnas.__all__) == set(dir(hpcnas))\n"
        "hpcnas.nothing"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)
    assert "module 'hpcnas' has no attribute 'nothing'" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "99"], 'has no model "99"'),
        (["--int8", "--format", "torchscript"], "--int8: not with --format torchscript; onnx and litert have it"),
        (["--int8", "--format", "pt2"], "--int8: not with --format pt2"),
        (["--int8", "--format", "executorch"], "--int8: not with --format executorch; onnx and litert have it"),
        (["--format", "litert", "--step", "3"], "frames of a step of --stream"),
        (["--format", "litert", "--int8", "--no-corpus"], "see --data"),
        (["--int8", "--no-corpus"], "see --data"),
        (["--step", "3"], "frames of a step of --stream"),
        (["--format", "state_dict", "--stream"], "it can do both"),
        (["--stream", "--no-corpus", "--step", "5"], "need a multiple of"),
        (["--data", "/nowhere"], "--no-corpus goes without"),
        (["--no-corpus", "--out", "/proc/model.onnx"], "/proc/model.onnx: cannot be written"),
        (["--no-corpus", "--out", "/tmp"], "/tmp: is a folder"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, folder, finished_run, capsys):
    if "--data" in arguments:
        done = subprocess.run(
            [sys.executable, "-m", "hpcnas.export", str(finished_run.root), *arguments], text=True, capture_output=True
        )
        status, error = done.returncode, done.stderr
    else:
        with pytest.raises(SystemExit) as ended:
            main([str(finished_run.root), *arguments])
        status, error = ended.value.code, capsys.readouterr().err
    assert status == 2 and message in error and len(error.splitlines()) == 1, error


def test_without_the_packages_the_way_to_get_them_is_told(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"pip install 'hpcnas\[export\]'"):
        session(folder / "model.onnx")


@pytest.mark.parametrize(
    ("format", "package"), [("onnx", "onnxruntime"), ("litert", "litert_torch"), ("executorch", "executorch")]
)
def test_a_missing_package_is_told_before_anything_is_done(format, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(export, "opened", lambda *of: pytest.fail("the model was read"))
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "run"), "--format", format, "--out", str(tmp_path / "new" / "model")])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and not list(tmp_path.iterdir())
    extra = "export" if format == "onnx" else format
    assert f"--format {format} needs {package}, which is not installed: pip install 'hpcnas[{extra}]'" in line


def test_a_model_file_says_where_it_came_from(documented, folder, finished_run):
    one = opened(folder / "kws.h5", None)
    assert one.name == "ensemble" and one.members == Classifier.open(finished_run).members
