"""ExecuTorch programs say what hpcnas says: every block, head and front end, whole and frame by frame."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scripts import assert_hears_alike, example
from test_deploy import CAUSAL, CLASSES, classifier
from test_litert import FRONT_ENDS, THRESHOLDS, mixed

from hpcnas import config as configuration
from hpcnas.core.errors import ExportError
from hpcnas.deploy import check, executorch
from hpcnas.deploy.speech import Noise
from hpcnas.deploy.write import Feeding, Graph
from hpcnas.nn.blocks import BLOCKS
from hpcnas.nn.heads import HEADS

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None, reason="no ExecuTorch here: pip install 'hpcnas[executorch]'"
)
RECURRENT = ["gru", "lstm", "rnn", "bigru", "bilstm"]
"""Unrolled over a window, whose conversion takes seconds for each frame."""


def agrees(one, folder: Path, feeding: Feeding = Feeding()) -> Graph:
    """The graph, kept since it says what torch says in ExecuTorch's runtime."""
    graph = Graph.of(one, feeding, Noise(one, length_s=0.5))
    assert graph.write(folder / "model.pte", "executorch").difference <= check.TOLERANCE
    return graph


@needs_executorch
@pytest.mark.parametrize(
    ("tower", "head"), [*zip(mixed([kind for kind in BLOCKS if kind not in RECURRENT]), itertools.cycle(HEADS))]
)
def test_every_block_and_head_on_windows(tower, head, tmp_path):
    agrees(classifier(tower, space__head=head), tmp_path)


@needs_executorch
def test_every_recurrence_on_windows(tmp_path):
    agrees(classifier("/".join(f"{kind}:units=8" for kind in RECURRENT), data__window_s=0.1), tmp_path)


@needs_executorch
@pytest.mark.parametrize(("tower", "head"), [*zip(mixed(CAUSAL), itertools.cycle(HEADS))])
def test_every_block_and_head_step_by_step(tower, head, tmp_path):
    agrees(classifier(tower, space__causal=True, space__head=head), tmp_path, Feeding(step=0))


@needs_executorch
@pytest.mark.parametrize(("kind", "normalisation", "deltas"), [*FRONT_ENDS, ("micro", "corpus", 0)])
def test_every_front_end(kind, normalisation, deltas, tmp_path):
    features = {"kind": kind, "normalisation": normalisation, "deltas": deltas, "cepstra": 6 if kind == "mfcc" else 40}
    agrees(classifier("dense:units=8", **{f"features__{name}": value for name, value in features.items()}), tmp_path)


@needs_executorch
def test_a_stream_and_its_example(tmp_path):
    one = replace(classifier("max_pool:size=2/tdnn:channels=8/gru:units=8", space__causal=True), thresholds=THRESHOLDS)
    graph = agrees(one, tmp_path, Feeding(step=0))
    about = executorch.metadata(tmp_path / "model.pte")
    described = json.loads(about["hpcnas"], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert configuration.parsed(about["hpcnas_config"], "method") == one.config
    assert described["class_names"] == list(CLASSES) and described["window"]["fixed"]
    assert described["thresholds"] == asdict(THRESHOLDS) and described["temperature"] == THRESHOLDS.temperature
    assert [part["name"] for part in described["stream"]["state"]] == list(graph.module.inputs[1:])

    run, samples = example("run_executorch"), 0.1 * np.random.default_rng(0).standard_normal(5760 * 3).astype(np.float32)
    opened = run.Graph(str(tmp_path / "model.pte"))
    assert opened.described == described
    assert_hears_alike(run.listen(opened, described, np.array_split(samples, 7)), one, samples)


@needs_executorch
def test_the_example_says_of_a_recording_what_the_classifier_says(tmp_path):
    one, run = classifier("tdnn:channels=8"), example("run_executorch")
    agrees(one, tmp_path)
    samples = 0.1 * np.random.default_rng(0).standard_normal(5760 * 3).astype(np.float32)
    graph = run.Graph(str(tmp_path / "model.pte"))
    theirs = one.predict(samples).posteriors
    np.testing.assert_allclose(run.posteriors(graph, graph.described, samples), [theirs[name] for name in CLASSES], atol=1e-4)


@needs_executorch
def test_a_graph_that_says_something_else_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "model.pte").write_text("before")
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="differ from torch's"):
        agrees(classifier("dense:units=8"), tmp_path)
    assert (tmp_path / "model.pte").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@needs_executorch
def test_what_cannot_be_converted_ends_in_one_line(tmp_path, monkeypatch):
    one = classifier("dense:units=8")
    graph = Graph.of(one, Feeding(), Noise(one, length_s=0.5))
    monkeypatch.setattr(type(graph.module), "forward", lambda self, log_mel: torch.linalg.svd(log_mel)[1].sum(-1).sort()[0])
    with pytest.raises(ExportError, match="ExecuTorch cannot convert this model: ") as raised:
        graph.write(tmp_path / "model.pte", "executorch")
    assert len(str(raised.value).splitlines()) == 1 and not list(tmp_path.iterdir())


def test_without_the_package_the_way_to_get_it_is_told(tmp_path, monkeypatch):
    for name in ("executorch", "executorch.exir", "executorch.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    one = classifier("dense:units=8")
    with pytest.raises(ExportError, match=r"--format executorch needs executorch.* pip install 'hpcnas\[executorch\]'"):
        Graph.of(one, Feeding(), Noise(one, length_s=0.5)).write(tmp_path / "model.pte", "executorch")
