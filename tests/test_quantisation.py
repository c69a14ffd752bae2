"""Training as in 8-bit integers: what is rounded, and that nothing stays rounded behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hpcnas import config as configuration
from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import Surroundings, build_model, rebuilt
from hpcnas.nn.quantisation import AsInt8, rounded, rounded_activation, rounded_weight
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.together import SoloWorld
from hpcnas.store import weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir


def model_of(tower: str) -> nn.Module:
    return build_model(spell(tower, BLOCK_TYPES), Surroundings(10, 3), seed=0).eval()


@given(st.integers(0, 99), st.floats(0.01, 100))
def test_weights_take_255_values_a_channel_and_move_by_half_a_step_at_most(seed, size):
    weight = size * torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed))
    step = weight.flatten(1).abs().amax(1) / 127
    grid = rounded_weight(weight) / step.view(-1, 1, 1)
    assert (rounded_weight(weight) - weight).abs().le(0.501 * step.view(-1, 1, 1)).all()
    torch.testing.assert_close(grid, grid.round(), atol=1e-3, rtol=0)
    assert grid.abs().max() <= 127.01


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 5), (2, 5), (-4, -1), (0, 0)])
def test_activations_keep_zero_exactly_and_their_range(low, high):
    x = torch.linspace(low, high, 1000)
    y = rounded_activation(torch.cat([x, torch.zeros(1)]))
    step = (max(high, 0) - min(low, 0)) / 255
    assert y[-1] == 0 and (y[:-1] - x).abs().max() <= step + 1e-6 and len(y.unique()) <= 256


def test_gradients_pass_as_if_nothing_were_rounded():
    x = torch.randn(50, requires_grad=True)
    rounded_activation(x).sum().backward()
    assert (x.grad == 1).all()


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block_computes_alike_within_the_rounding_and_has_its_own_weights_behind(kind):
    model = model_of(str(BLOCK_TYPES[kind].sample(np.random.default_rng(0))))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(4, 10, 36)
    with torch.no_grad():
        full = model(x)
        with AsInt8(model):
            small = model(x)
        again = model(x)
    assert 0 < (small - full).abs().max() <= 0.1 * full.abs().max()
    torch.testing.assert_close(again, full, atol=0, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_own_weights_come_back_when_a_step_fails():
    model = model_of("conv1d:channels=8")
    before = model.classifier.weight.clone()
    with pytest.raises(ZeroDivisionError), AsInt8(model):
        raise ZeroDivisionError
    assert torch.equal(model.classifier.weight, before) and not model._forward_pre_hooks


def test_one_serves_all_steps_of_a_training_and_follows_its_weights(monkeypatch):
    model, x = model_of("conv1d:channels=8/dense:units=8"), torch.randn(4, 10, 36)
    many = AsInt8(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        with AsInt8(model):
            expected = model(x)
        with monkeypatch.context() as patch:
            patch.setattr(type(model), "modules", lambda self: pytest.fail("what is rounded is found once"))
            with many:
                found = model(x)
                found.square().sum().backward()
        torch.testing.assert_close(found, expected, atol=0, rtol=0)
        optimizer.step()


def test_of_a_chain_only_what_stands_in_memory_is_rounded():
    chain = model_of("conv1d:channels=8").blocks[0].module
    assert [type(part).__name__ for part in chain] == ["Conv1d", "BatchNorm1d", "ReLU"]
    assert [type(part).__name__ for part in rounded(chain)] == ["ReLU"]


def test_trials_and_members_are_judged_as_in_8_bit_integers(mpirun, tiny, tmp_path):
    run = RunDir(tmp_path / "run")
    done = mpirun(1, "hpcnas.search", *tiny, "--set", "training.quantised=true", "--run", str(run.root))
    assert done.returncode == 0, done.output
    done = mpirun(1, "hpcnas.ensemble", str(run.root))
    assert done.returncode == 0, done.output
    config = configuration.load(run.config)
    corpus = load_corpus(SoloWorld(), config)
    trainer = Trainer(corpus, SoloGroup(), config.training)
    for stage in (run.search, run.ensemble):
        best = archive_of(stage.journal).best()[0]
        path, around = stage.weights(best.id), config.space.surroundings(corpus.bands, len(corpus.class_names))
        model = rebuilt(weights.load_architecture(path), weights.load_arrays(path), around)
        of_floats, of_integers = (trainer.evaluate(model, corpus.validation, quantised=one) for one in (False, True))
        np.testing.assert_allclose(weights.load_logits(path, "validation"), of_integers, atol=1e-5)
        assert 1e-4 < np.abs(of_floats - of_integers).max() < 0.5
