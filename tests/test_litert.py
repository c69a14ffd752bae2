"""LiteRT files say what hpcnas says, and run on microcontrollers where the table says so: every block, head and front end."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scripts import example
from test_deploy import CAUSAL, CLASSES, Heard, classifier

from hpcnas import config as configuration
from hpcnas.core.errors import ExportError
from hpcnas.core.thresholds import Thresholds
from hpcnas.deploy import check, files, flatbuffer, litert, microcontroller
from hpcnas.deploy.graphs import Step
from hpcnas.deploy.microcontroller import UNFIT, Unfit
from hpcnas.deploy.speech import Noise
from hpcnas.deploy.write import Exported, Feeding, Graph
from hpcnas.export import on_esphome
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.front_end import KINDS, NORMALISATIONS
from hpcnas.nn.heads import HEADS

ROOT = Path(__file__).parent.parent
THRESHOLDS = Thresholds({"yes": 0.62}, false_alarms_per_hour=1.0, hours=5.0, weights="")
WITHOUT = "no LiteRT here: pip install 'hpcnas[litert]'"
needs_litert = pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason=WITHOUT)
needs_micro = pytest.mark.skipif(not microcontroller.is_here(), reason="no tflite-micro here, or not Linux on x86-64")

PLACES = {"plane": 0, "any": 1, "sequence": 2}
LAST = {"band_fold": 0.5, "band_mean": 0.6, "statistics_pool": 3, "attention_pool": 4}
"""Where a block stands in a tower of many; a plane ends behind some, and others leave one frame."""


FRONT_ENDS = [("log_mel", "corpus", 1), ("log_mel", "utterance", 0), ("mfcc", "running", 0), ("pcen", "corpus", 0)]


def towers(kinds: list[str], form: str) -> list[str]:
    """Of the blocks those that tflite-micro runs."""
    return mixed([kind for kind in kinds if (kind, form) not in UNFIT])


def mixed(kinds: list[str], together: int = 5) -> list[str]:
    """Several blocks in a tower, since a conversion takes seconds."""
    number = -(-len(kinds) // together)
    parts = [sorted(kinds[n::number], key=lambda kind: LAST.get(kind, PLACES[BLOCK_TYPES[kind].layout])) for n in range(number)]
    rng = np.random.default_rng(0)
    return ["/".join(str(BLOCK_TYPES[kind].sample(rng)) for kind in part) for part in parts]


class Few(Heard):
    """Enough noise to try a graph on, and little to find ranges in."""

    def calibration(self) -> torch.Tensor:
        return self.windows[::8]


def graph_of(one, feeding: Feeding = Feeding()) -> Graph:
    return Graph.of(one, feeding, Few(one, length_s=0.5))


def agree(graph: Graph, folder: Path) -> None:
    """In floats and 8-bit integers the graph says what torch says, and in tflite-micro, bare of its description, too."""
    full = graph.write(folder / "model.tflite", "litert")
    small = graph.write_int8(folder / "model.int8.tflite", full.path, "litert")
    assert full.difference <= check.TOLERANCE
    runs = [litert.litert_run(one.path) for one in (full, small)]
    stream = isinstance(graph.module, Step)
    judges = [check.OnSteps(run, graph.module) if stream else check.OnWindows(run, fixed=True) for run in runs]
    before, after = (judge(graph.material.windows[::8]) for judge in judges)
    assert (before - after).abs().max() < 0.2 * (before.max() - before.min())
    quantised = litert.quantisation(small.path)
    assert "logits" in quantised
    for name in graph.module.inputs[1:]:
        before, after = (quantised.get(one, {"scale": 0, "zero_point": 0}) for one in (name, f"new_{name}"))
        assert before == pytest.approx(after, rel=1e-5), "a state goes in as it came out"
    if not microcontroller.is_here():
        return
    assert microcontroller.unfit(graph.classifier, graph.module) is None
    for exported, run in ((full, runs[0]), (small, runs[1])):
        bare = folder / "bare.tflite"
        bare.write_bytes(flatbuffer.bare(exported.path))
        windows, sound = graph.material.windows[::8], graph.material.stream
        tried = microcontroller.tried(bare, graph.module, run, windows, sound)
        assert tried.arena > 1000 and tried.difference < math.inf


@needs_litert
@pytest.mark.parametrize(("tower", "head"), [*zip(towers(list(BLOCKS), "windows"), itertools.cycle(HEADS))])
def test_every_block_and_head_that_a_microcontroller_runs_on_windows(tower, head, tmp_path):
    agree(graph_of(classifier(tower, space__head=head)), tmp_path)


@needs_litert
@pytest.mark.parametrize(("tower", "head"), [*zip(towers(CAUSAL, "steps"), itertools.cycle(HEADS))])
def test_every_block_and_head_that_a_microcontroller_runs_step_by_step(tower, head, tmp_path):
    agree(graph_of(classifier(tower, space__causal=True, space__head=head), Feeding(step=0)), tmp_path)


@needs_litert
@needs_micro
@pytest.mark.parametrize("kind", [part for part, form in UNFIT if form == "windows"])
def test_what_the_table_says_that_microcontrollers_cannot_run(kind, tmp_path):
    graph = graph_of(classifier(f"{kind}:units=8", data__window_s=0.14))
    full = graph.write(tmp_path / "model.tflite", "litert")
    assert full.difference <= check.TOLERANCE
    with pytest.raises(Unfit, match=f"{kind}: whole windows unroll a recurrence"):
        graph.tried_on_micro(full.path)
    # The table is right: the interpreter itself gives up, on floats and on integers.
    small = graph.write_int8(tmp_path / "model.int8.tflite", full.path, "litert")
    for one in (full, small):
        with pytest.raises(Unfit, match="num_inputs <= kMaxInputNum"):
            microcontroller.child(one.path, graph.material.windows[:1].numpy(), [])


def test_what_is_tried_is_all_there_is():
    assert len(towers(list(BLOCKS), "windows")) >= len(HEADS) <= len(towers(CAUSAL, "steps"))
    for kinds, form in ((list(BLOCKS), "windows"), (CAUSAL, "steps")):
        tried = {part.split(":")[0] for tower in towers(kinds, form) for part in tower.split("/")}
        assert tried | {part for part, of in UNFIT if of == form} == set(kinds)
    assert {kind for kind, *_ in FRONT_ENDS} == set(KINDS) - {"micro"}, "which has a test of its own"
    assert {normalisation for _, normalisation, _ in FRONT_ENDS} == set(NORMALISATIONS)


def test_the_table_names_parts_that_there_are():
    for part, form in UNFIT:
        assert part in {*BLOCKS, *HEADS, *KINDS, *NORMALISATIONS} and form in ("windows", "steps")


@needs_litert
@pytest.mark.parametrize(("kind", "normalisation", "deltas"), FRONT_ENDS)
def test_every_front_end(kind, normalisation, deltas, tmp_path):
    features = {"kind": kind, "normalisation": normalisation, "deltas": deltas, "cepstra": 6 if kind == "mfcc" else 40}
    one = classifier("dense:units=8", **{f"features__{name}": value for name, value in features.items()})
    agree(graph_of(one), tmp_path)
    # All but a difference and a product is computed in floats.
    assert "log_mel" not in litert.quantisation(tmp_path / "model.int8.tflite")


@needs_litert
def test_a_model_of_the_devices_own_front_end_is_8_bit_integers_throughout(tmp_path):
    graph = graph_of(classifier("dense:units=8", features__kind="micro"))
    agree(graph, tmp_path)
    assert "log_mel" in litert.quantisation(tmp_path / "model.int8.tflite")
    header = graph.write_c_array(tmp_path / "kws.h", tmp_path / "model.int8.tflite", 12345).header.read_text()
    assert "TensorFlow Lite Micro's front end" in header and "pcan_gain_control" in header and "kaldi" not in header


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> tuple[Graph, Path]:
    """A stream with a state that begins as minus infinity, its files in floats and 8-bit integers, and as a C array."""
    if importlib.util.find_spec("litert_torch") is None:
        pytest.skip(WITHOUT)
    folder = tmp_path_factory.mktemp("stream")
    one = classifier("max_pool:size=2/tdnn:channels=8/gru:units=8", space__causal=True)
    graph = graph_of(replace(one, thresholds=THRESHOLDS), Feeding(step=0))
    graph.write(folder / "kws.tflite", "litert")
    graph.write_int8(folder / "kws.int8.tflite", folder / "kws.tflite", "litert")
    graph.write_c_array(folder / "kws.h", folder / "kws.int8.tflite", 12345)
    return graph, folder


def test_the_file_says_all_that_is_needed_to_use_it(stream):
    graph, folder = stream
    for name in ("kws.tflite", "kws.int8.tflite"):
        described = example("run_litert").description(str(folder / name))
        assert described == json.loads(flatbuffer.metadata(folder / name)["hpcnas"])
        assert configuration.parsed(flatbuffer.metadata(folder / name)["hpcnas_config"], "metadata") == graph.classifier.config
        assert described["class_names"] == list(CLASSES) and described["window"]["fixed"]
        assert described["thresholds"] == asdict(THRESHOLDS)
        names = ["log_mel", *(part["name"] for part in described["stream"]["state"])]
        opened = litert.interpreter(folder / name)
        assert [one["name"] for one in opened.get_input_details()] == names == list(graph.module.inputs)
        assert [one["name"] for one in opened.get_output_details()] == list(graph.module.outputs)
        assert len(opened.get_signature_list()) == 1
    assert described["int8"] and described["quantisation"] == litert.quantisation(folder / "kws.int8.tflite")
    assert {"log_mel", "logits", "state_0", "new_state_0"} <= set(described["quantisation"])


def test_esphome_s_runtime_is_told_to_be_unable_with_what_it_lacks(stream):
    of_log_mel, folder = stream
    reason = microcontroller.no_manifest(folder / "kws.int8.tflite")
    assert reason.startswith("it has no Slice, Sub, Tanh, Transpose, and wants the state inside of the graph")
    exported = Exported(folder / "kws.int8.tflite", 0.0, 0.9, 1.0, np.zeros((0, 3)))
    own = classifier("tdnn:channels=8", space__causal=True, features__kind="micro")
    (line,) = on_esphome(graph_of(own, Feeding(step=0)), exported)
    assert line.startswith("no manifest for ESPHome's micro_wake_word: it has no ")
    assert not [*on_esphome(graph_of(own), exported)] and not [*on_esphome(of_log_mel, exported)], "nobody expects one"


def test_minus_infinity_has_no_part_in_a_range(stream):
    graph, folder = stream
    lowest = [tensor.name for tensor in graph.module.state if tensor.start < litert.LOWEST]
    assert lowest
    for name in lowest:
        of = litert.quantisation(folder / "kws.int8.tflite")[name]
        assert of["scale"] < 1, "of log-mel, which is between -20 and 20"


@pytest.mark.parametrize("form", ["windows", "steps"])
def test_the_example_says_what_the_classifier_says(form, stream, tmp_path):
    run = example("run_litert")
    samples = np.random.default_rng(0).standard_normal(5760 * 3).astype(np.float32) * 0.1
    graph, folder = stream
    if form == "steps":
        described, opened = run.description(str(folder / "kws.tflite")), run.Graph(str(folder / "kws.tflite"))
        heard = dict(run.listen(opened, described, np.array_split(samples, 7)))
        theirs = {round(at, 6): logits for at, logits in graph.classifier.listen(np.array_split(samples, len(samples) // 160))}
        assert len(heard) > 20
        for at, ours in heard.items():
            np.testing.assert_allclose(ours, run.softmax(theirs[round(at, 6)]), atol=1e-4)
        return
    one = classifier("tdnn:channels=8")
    path = graph_of(one).write(tmp_path / "model.tflite", "litert").path
    ours = run.posteriors(run.Graph(str(path)), run.description(str(path)), samples)
    theirs = one.predict(samples).posteriors
    np.testing.assert_allclose(ours, [theirs[name] for name in CLASSES], atol=1e-4)


def test_a_c_array_is_the_graph(stream):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler here")
    graph, folder = stream
    (folder / "print.cc").write_text(
        '#include "kws.h"\n#include <cstdio>\n#include <cstdint>\n'
        "int main() {\n  std::fwrite(kws::kGraph, 1, kws::kGraphSize, stdout);\n"
        '  std::fprintf(stderr, "%d %d %zu %d %zu %s", int(reinterpret_cast<std::uintptr_t>(kws::kGraph) % 16), kws::kStates,\n'
        "    kws::kStateBytes, kws::kFrames, kws::kArenaSize, kws::kClassNames[kws::kClasses - 1]);\n}\n"
    )
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "print.cc", "kws.cc", "-o", "print"]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run([folder / "print"], capture_output=True, check=True)
    assert done.stdout == flatbuffer.bare(folder / "kws.int8.tflite")
    size = sum(math.prod(tensor.shape) for tensor in graph.module.state)
    assert done.stderr.decode().split() == ["0", str(len(graph.module.state)), str(size), "2", "12345", CLASSES[-1]]


DECLARED = {
    "micro/micro_interpreter.h": """
        #pragma once
        #include <cstddef>
        #include <cstdint>
        enum TfLiteStatus { kTfLiteOk, kTfLiteError };
        enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
        struct TfLiteQuantizationParams { float scale; std::int32_t zero_point; };
        union TfLitePtrUnion { std::int8_t* int8; float* f; char* raw; };
        struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; TfLiteQuantizationParams params; std::size_t bytes; };
        namespace tflite {
        struct Model;
        struct MicroOpResolver {};
        struct MicroInterpreter {
          MicroInterpreter(const Model* model, const MicroOpResolver& resolver, std::uint8_t* arena, std::size_t size);
          TfLiteStatus AllocateTensors();
          TfLiteStatus Invoke();
          TfLiteTensor* input(std::size_t index);
          TfLiteTensor* output(std::size_t index);
        };
        }""",
    "micro/micro_mutable_op_resolver.h": """
        #pragma once
        namespace tflite { template <unsigned int count> struct MicroMutableOpResolver : MicroOpResolver { OPERATORS }; }""",
    "schema/schema_generated.h": "namespace tflite { const Model* GetModel(const void* buffer); }",
}
"""What of tflite-micro the example calls."""


def test_the_example_in_c_plus_plus_is_sound(stream, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler here")
    _, folder = stream
    needed = flatbuffer.operators(folder / "kws.int8.tflite")
    assert {"Concatenation", "FullyConnected", "Logistic", "MaxPool2D", "Tanh"} <= set(needed)
    for name, text in DECLARED.items():
        path = tmp_path / "tensorflow" / "lite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("OPERATORS", " ".join(f"TfLiteStatus Add{one}();" for one in needed)))
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{tmp_path}", f"-I{folder}"]
    done = subprocess.run([*command, ROOT / "examples/micro/main.cc"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_become_c_plus_plus(tmp_path):
    assert microcontroller.namespace(Path("kws.h")) == "kws"
    assert microcontroller.namespace(Path("8 words-größe.h")) == "model_8_words_gr_e"
    assert microcontroller.namespace(Path("語.h")) == "model"
    assert microcontroller._literal('a"b\\c?ü\n') == '"a\\042b\\134c\\077\\303\\274\\012"'


@needs_litert
@needs_micro
def test_what_kills_the_interpreter_ends_in_a_sentence(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"\x20\0\0\0TFL3" + bytes(200))
    with pytest.raises(Unfit, match=r"ended by signal|status"):
        microcontroller.child(tmp_path / "model.tflite", np.zeros((1, 10, 36), np.float32), [])


@needs_litert
def test_a_graph_that_says_something_else_is_not_kept(tmp_path, monkeypatch):
    one = classifier("dense:units=8")
    (tmp_path / "model.tflite").write_text("before")
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differ from torch's"):
        graph_of(one).write(tmp_path / "model.tflite", "litert")
    assert (tmp_path / "model.tflite").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@needs_litert
def test_what_cannot_be_converted_ends_in_one_line(tmp_path, monkeypatch):
    graph = graph_of(classifier("dense:units=8"))
    monkeypatch.setattr(type(graph.module), "forward", lambda self, log_mel: torch.linalg.svd(log_mel)[1].sum(-1).sort()[0])
    with pytest.raises(ExportError, match="LiteRT's converter fails: ") as raised:
        litert.save_litert(tmp_path / "model.tflite", graph.module, True, {}, "")
    assert len(str(raised.value).splitlines()) == 1 and not (tmp_path / "model.tflite").exists()


def test_without_the_packages_the_way_to_get_them_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    one = classifier("dense:units=8")
    with pytest.raises(ExportError, match=r"--format litert needs litert_torch .*pip install 'hpcnas\[litert\]'"):
        Graph.of(one, Feeding(), Noise(one, length_s=0.5)).write(tmp_path / "model.tflite", "litert")


def test_silence_is_over_when_it_ends(capfd):
    with files.silent():
        print("python")
        subprocess.run(["sh", "-c", "echo below; echo below >&2"])
    print("after")
    assert capfd.readouterr() == ("after\n", "")
