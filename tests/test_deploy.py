"""Exported graphs say what hpcnas says: every block, head and front end, whole and frame by frame."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from example_scripts import example

from hpcnas import config as configuration
from hpcnas.core.errors import ExportError, RunError
from hpcnas.core.space import spell
from hpcnas.core.thresholds import Thresholds
from hpcnas.deploy import check, files
from hpcnas.deploy.description import description
from hpcnas.deploy.graphs import Step, Windows
from hpcnas.deploy.speech import Noise
from hpcnas.deploy.write import Feeding, Graph, write_model
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.folding import folded
from hpcnas.nn.front_end import KINDS, NORMALISATIONS, FrontEnd
from hpcnas.nn.heads import HEADS
from hpcnas.nn.model import build_model
from hpcnas.store import model_card
from hpcnas.store.ensemble_file import Member
from hpcnas.store.model_card import ModelCard
from hpcnas.store.model_file import StoredModel
from hpcnas.use.classifier import Classifier, Mixture, opened

CLASSES = ("yes", "no", "other")
CAUSAL = [kind for kind in BLOCKS if BLOCK_TYPES[kind].causal]


def classifier(*towers: str, **settings: object) -> Classifier:
    """Models with statistics as after training, in equal shares; settings are keys of the configuration, ``__`` for the dot."""
    given = {"features__bands": 10, "data__window_s": 0.36, **settings}
    if given.get("features__kind") == "micro":
        given["features__bands"] = 40  # and no other number
    values = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in given.items()]
    config = configuration.load(None, values)
    shown = min(config.features.bands, config.features.cepstra) if config.features.kind == "mfcc" else config.features.bands
    bands = (1 + config.features.deltas) * shown
    generator = torch.Generator().manual_seed(0)
    models, stored = [], []
    for seed, tower in enumerate(towers):
        model = build_model(spell(tower, BLOCK_TYPES), config.space.surroundings(bands, len(CLASSES)), seed)
        for name, tensor in model.state_dict().items():
            if "running" in name or "norm" in name:
                tensor.copy_(tensor + 0.3 * torch.rand(tensor.shape, generator=generator))
        stored.append(StoredModel(spell(tower, BLOCK_TYPES), {n: tensor.numpy() for n, tensor in model.state_dict().items()}))
        models.append(folded(model).eval().requires_grad_(False))
    shares = [1 / len(towers)] * len(towers)
    return Classifier(
        "ensemble",
        [Member("search", number, share) for number, share in enumerate(shares)],
        stored,
        Mixture(models, shares).eval(),
        FrontEnd(config.features.front_end, 0.5 * torch.randn(bands, generator=generator), torch.full((bands,), 2.0)),
        CLASSES,
        config,
    )


def written(one: Classifier, path: Path, format: str, feeding: Feeding = Feeding()):
    return Graph.of(one, feeding, Noise(one, length_s=0.5)).write(path, format)


def both_formats(graph: Windows | Step, folder: Path) -> list[files.Run]:
    """The graph in files of both formats."""
    files.save_onnx(folder / "model.onnx", graph.eval(), False, {}, "")
    files.save_torchscript(folder / "model.pt", graph, False, {}, "")
    return [files.onnx_run(folder / "model.onnx"), files.torchscript_run(folder / "model.pt")]


@pytest.mark.parametrize("before", ["", "conv:channels=4,kernel=3,stride=2/"], ids=["input", "plane"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_can_be_exported_for_any_number_and_length(kind, before, tmp_path):
    graph = Windows(classifier(f"{before}{BLOCK_TYPES[kind].sample(np.random.default_rng(0))}"))
    for run in both_formats(graph, tmp_path):
        for examples, frames in ((1, 36), (1, 1), (3, 7), (2, 100)):
            log_mel = torch.randn(examples, 10, frames)
            torch.testing.assert_close(run(log_mel)[0], graph(log_mel), atol=check.TOLERANCE, rtol=0)


@pytest.mark.parametrize("before", ["", "conv:channels=4,kernel=3,stride=2/"], ids=["input", "plane"])
@pytest.mark.parametrize("kind", CAUSAL)
def test_every_causal_block_can_be_exported_frame_by_frame(kind, before, tmp_path):
    one = classifier(f"{before}{BLOCK_TYPES[kind].sample(np.random.default_rng(1))}/tdnn:channels=6", space__causal=True)
    step, stream = Step(one), torch.randn(1, 10, 72)
    assert all((tensor == tensor.flatten()[0]).all() for tensor in step.start), "a number says how each state begins"
    for run in both_formats(step, tmp_path):
        assert check.stream_difference(files.graph_run(step), run, step, stream) <= check.TOLERANCE
        # A window that is a whole number of steps, fed into a stream that begins, is that window.
        last = check.OnSteps(run, step)(stream[..., :36])
        assert 36 % step.frames == 0
        torch.testing.assert_close(last, Windows(one)(stream[..., :36]), atol=check.TOLERANCE, rtol=0)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_can_be_exported(head, tmp_path):
    one = classifier("conv1d:channels=8,stride=2", space__head=head, space__causal=True)
    for feeding in (Feeding(), Feeding(fixed=True), Feeding(step=0), Feeding(step=4)):
        assert written(one, tmp_path / "model.onnx", "onnx", feeding).difference <= check.TOLERANCE


@pytest.mark.parametrize("deltas", [0, 2])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_front_end_is_in_the_graph(kind, normalisation, deltas, tmp_path):
    features = {"kind": kind, "normalisation": normalisation, "deltas": deltas, "cepstra": 6 if kind == "mfcc" else 40}
    one = classifier("dense:units=8", **{f"features__{name}": value for name, value in features.items()})
    assert written(one, tmp_path / "model.onnx", "onnx").difference <= check.TOLERANCE


def test_a_fixed_graph_takes_single_windows_alone(tmp_path):
    one = classifier("conv:channels=4,kernel=3,stride=2/gru:units=6", "attention:dim=8,heads=2,context=16")
    assert written(one, tmp_path / "model.onnx", "onnx", Feeding(fixed=True)).difference <= check.TOLERANCE
    (log_mel,) = files.session(tmp_path / "model.onnx").get_inputs()
    assert log_mel.shape == [1, 10, 36]


def test_the_file_says_all_that_is_needed_to_use_it(tmp_path):
    one = classifier("tcres:channels=8,stride=2", "max_pool:size=3/lstm:units=4", space__causal=True)
    written(one, tmp_path / "model.onnx", "onnx", Feeding(step=0))
    meta = files.session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    described = json.loads(meta["hpcnas"], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert described["class_names"] == list(CLASSES)
    assert described["kaldi_fbank"]["mel_opts"] == {"num_bins": 10, "low_freq": 20.0, "high_freq": 7600.0}
    assert described["window"] == {"samples": 5760, "frames": 36, "fixed": False, "pads": True}
    assert described["stream"]["frames"] == 6, "of strides 2 and 3"
    assert configuration.parsed(meta["hpcnas_config"], "metadata") == one.config
    names = [tensor["name"] for tensor in described["stream"]["state"]]
    assert [one.name for one in files.session(tmp_path / "model.onnx").get_inputs()] == ["log_mel", *names]
    extra = {"hpcnas.json": "", "config.toml": ""}
    written(one, tmp_path / "model.pt", "torchscript", Feeding(step=0))
    torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    assert json.loads(extra["hpcnas.json"]) == described


def test_thresholds_that_the_model_card_has_go_into_every_file(tmp_path):
    one = classifier("dense:units=8")
    chosen = Thresholds({"yes": 0.62, "no": 0.4}, 1.0, 5.5, weights=one.digest, temperature=1.2)
    card = ModelCard(np.zeros(10), np.ones(10), CLASSES, {"ensemble": chosen, "best": replace(chosen, weights="others")})
    model_card.save(tmp_path / "model_card.json", card)
    assert model_card.load(tmp_path / "model_card.json").thresholds == card.thresholds
    one = replace(one, thresholds=model_card.load(tmp_path / "model_card.json").thresholds["ensemble"])
    write_model(tmp_path / "model.h5", one, Noise(one, length_s=0.5))
    again = opened(tmp_path / "model.h5", None)
    assert again.thresholds == chosen
    extra = {"hpcnas.json": ""}
    torch.jit.load(str(written(again, tmp_path / "model.pt", "torchscript").path), _extra_files=extra)
    graph = onnx.load(written(again, tmp_path / "model.onnx", "onnx").path)
    told = [json.loads(extra["hpcnas.json"]), json.loads({p.key: p.value for p in graph.metadata_props}["hpcnas"])]
    assert [described["thresholds"] for described in told] == [asdict(chosen)] * 2
    assert "thresholds" not in description(classifier("dense:units=8"), Windows(one), False, {}), "none were chosen"


def test_forms_that_a_model_does_not_have_are_refused():
    for one in (classifier("gru"), classifier("gru", space__causal=True, features__deltas=1)):
        with pytest.raises(ExportError, match="cannot be fed frame by frame"):
            Step(one)
    with pytest.raises(ExportError, match="steps of 3 frames: its strides need a multiple of 2"):
        Step(classifier("conv1d:channels=8,stride=2", space__causal=True), 3)


def test_a_graph_that_says_something_else_is_not_kept(tmp_path, monkeypatch):
    one = classifier("dense:units=8")
    (tmp_path / "model.onnx").write_text("before")
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differ from torch's"):
        written(one, tmp_path / "model.onnx", "onnx")
    assert (tmp_path / "model.onnx").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_model_file_holds_the_model(tmp_path):
    one = classifier("conv:channels=4,kernel=3,stride=2/bcres", "bilstm:units=4", features__deltas=1, space__head="attentive")
    exported = write_model(tmp_path / "model.h5", one, Noise(one))
    assert exported.difference == 0
    again = opened(tmp_path / "model.h5", None)
    assert (again.config, again.architectures, again.members) == (one.config, one.architectures, one.members)
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert again.predict(samples) == one.predict(samples)
    with pytest.raises(RunError, match="is a file with one model"):
        opened(tmp_path / "model.h5", "best")


def test_files_that_are_no_model_are_named(tmp_path):
    (tmp_path / "text.h5").write_text("no model")
    with pytest.raises(RunError, match=r"text.h5: cannot be read as a model"):
        opened(tmp_path / "text.h5", None)
    one = classifier("dense:units=8")
    write_model(tmp_path / "model.h5", one, Noise(one, length_s=0.5))
    whole = (tmp_path / "model.h5").read_bytes()
    for damaged in (whole[:-100], whole[:5000] + b"x" + whole[5001:]):
        (tmp_path / "model.h5").write_bytes(damaged)
        with pytest.raises(RunError, match=r"do not match its checksum.*export it again"):
            opened(tmp_path / "model.h5", None)


def test_a_recording_is_judged_by_the_windows_that_cover_it():
    one = classifier("dense:units=8")
    samples = np.random.default_rng(0).standard_normal(5760 * 3).astype(np.float32)
    answer = one.predict(samples)
    assert answer.score == max(answer.posteriors.values()) and sum(answer.posteriors.values()) == pytest.approx(1)
    half = replace(one, config=one.config).predict(samples[:5760])
    _, logits = one.scan(samples[:5760], 0.1)
    assert half.class_name == CLASSES[logits[0].argmax()]


class Heard(Noise):
    """Noise that 8-bit ranges may be found in."""

    def calibration(self) -> torch.Tensor:
        return self.windows


@pytest.mark.parametrize("feeding", [Feeding(), Feeding(fixed=True), Feeding(step=0)], ids=["windows", "fixed", "stream"])
def test_8_bit_integers_say_nearly_the_same(feeding, tmp_path):
    one = classifier("tdnn:channels=32/svdf:filters=64,memory=8/tdnn:channels=32", "gru:units=16", space__causal=True)
    for name, tensor in one.model.state_dict().items():
        if name.endswith("layer.weight"):  # all as large as can be and of one sign, so that what can overflow does
            tensor.fill_(float(tensor.abs().mean()))
    graph = Graph.of(one, feeding, Heard(one, length_s=2.0))
    full = graph.write(tmp_path / "model.onnx", "onnx")
    small = graph.write_int8(tmp_path / "model.int8.onnx", full.path)
    windows = graph.material.windows
    judges = [
        check.OnWindows(files.onnx_run(one.path), feeding.fixed)
        if feeding.step is None
        else check.OnSteps(files.onnx_run(one.path), graph.module)
        for one in (full, small)
    ]
    before, after = (judge(windows) for judge in judges)
    assert (before - after).abs().max() < 0.05 * (before.max() - before.min()), "products do not overflow"
    kinds = [node.op_type for node in onnx.load(small.path).graph.node]
    assert "DequantizeLinear" in kinds and "GRU" in kinds
    described = json.loads(files.session(small.path).get_modelmeta().custom_metadata_map["hpcnas"])
    assert described["int8"] and described["class_names"] == list(CLASSES)


def test_short_recordings_go_in_without_their_padding(tmp_path):
    one = classifier("tdnn:channels=8/gru:units=6", data__name="language_folders", features__normalisation="utterance")
    one = replace(one, thresholds=Thresholds({}, 0.0, 0.0, "", temperature=0.1))
    written(one, tmp_path / "model.onnx", "onnx")
    opened_file = files.session(tmp_path / "model.onnx")
    described = json.loads(opened_file.get_modelmeta().custom_metadata_map["hpcnas"])
    samples = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    ours, theirs = example("run_onnx").posteriors(opened_file, described, samples), one.predict(samples).posteriors
    np.testing.assert_allclose(ours, [theirs[name] for name in CLASSES], atol=1e-4)
    log_mel, lengths = torch.randn(2, 10, 36), torch.tensor([36, 20])
    judged = check.OnWindows(files.onnx_run(tmp_path / "model.onnx"), fixed=False)(log_mel, lengths)
    expected = one.model(one.front_end(log_mel, lengths), lengths)
    torch.testing.assert_close(judged, expected, atol=check.TOLERANCE, rtol=0)


@pytest.mark.parametrize("feeding", [Feeding(), Feeding(step=0)], ids=["windows", "steps"])
def test_a_program_of_torch_export_says_the_same(feeding, tmp_path):
    one = classifier("conv:channels=4,kernel=3,stride=2/gru:units=6", "attention:dim=8,heads=2,context=16", space__causal=True)
    graph = Graph.of(one, feeding, Noise(one, length_s=0.5))
    assert graph.write(tmp_path / "model.pt2", "pt2").difference <= check.TOLERANCE
    extra = {"hpcnas.json": "", "config.toml": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    described = json.loads(extra["hpcnas.json"])
    assert described["class_names"] == list(CLASSES) and described["window"]["fixed"]
    assert configuration.parsed(extra["config.toml"], "extra file") == one.config
