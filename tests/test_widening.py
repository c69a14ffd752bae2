"""Children that are wider or deeper than their parent and compute the same."""

import pytest
import torch
from helpers import trial

from hpcnas.core.inheritance import Parent
from hpcnas.core.space import spell
from hpcnas.core.trial import Donor
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.model import Surroundings, build_model

AROUND = Surroundings(bands=10, classes=4, tail=spell("svdf:filters=6,memory=4", BLOCK_TYPES).blocks)


def used(model: torch.nn.Module) -> torch.nn.Module:
    """In evaluation mode, with batch norms as after training."""
    for name, tensor in model.state_dict().items():
        if "running" in name or tensor.dim() == 1:
            tensor.add_(0.3 * torch.rand(tensor.shape) if tensor.is_floating_point() else 0)
    return model.eval()


def child_of(parent: torch.nn.Module, old: str, new: str) -> tuple[torch.nn.Module, dict]:
    child = build_model(spell(new, BLOCK_TYPES), AROUND, seed=1).eval()
    state = child.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    arrays = {name: tensor.numpy() for name, tensor in parent.state_dict().items()}
    merged = Parent(overlap=False).merge(
        trial(1, str(spell(new, BLOCK_TYPES))), shapes, [(Donor(trial(0, str(spell(old, BLOCK_TYPES)))), arrays)]
    )
    for name, array in merged.items():
        state[name].copy_(torch.as_tensor(array))
    return child, merged


@pytest.mark.parametrize(
    "behind", ["", "/dense:units=5", "/max_pool/gru:units=5", "/dsconv:channels=4", "/bottleneck/tcres:channels=13"]
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dense:units=6", "dense:units=11"),
        ("svdf:filters=6,memory=4", "svdf:filters=9,memory=4"),
        ("tdnn:channels=6", "tdnn:channels=8"),
        ("conv1d:channels=6,stride=2", "conv1d:channels=7,stride=2"),
        ("conv:channels=3", "conv:channels=5"),
        ("lowrank:units=6,rank=3", "lowrank:units=12,rank=3"),
        ("rnn:units=4", "rnn:units=7"),
        ("gru:units=4", "gru:units=7"),
        ("lstm:units=4", "lstm:units=8"),
    ],
)
def test_a_wider_block_computes_what_the_narrower_one_did(old, new, behind):
    old, new = f"svdf:filters=7,memory=2/{old}{behind}", f"svdf:filters=7,memory=2/{new}{behind}"
    parent = used(build_model(spell(old, BLOCK_TYPES), AROUND, seed=0))
    child, merged = child_of(parent, old, new)
    if "dsconv" in behind and not old.startswith("svdf:filters=7,memory=2/conv:"):
        assert not any(name.startswith("blocks.1.") for name in merged), "channels became bands, which cannot be repeated"
        return
    assert merged.keys() == child.state_dict().keys()
    x = torch.randn(3, 10, 24)
    torch.testing.assert_close(child(x), parent(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("new", ["dense:units=4", "dense:units=6/dense:units=7", "svdf:filters=11,memory=4"])
def test_what_is_not_a_wider_block_is_not_widened(new):
    parent = used(build_model(spell("dense:units=6", BLOCK_TYPES), AROUND, seed=0))
    _, merged = child_of(parent, "dense:units=6", new)
    assert not any(name.startswith("blocks.0.") for name in merged) or new.startswith("dense:units=6")


@pytest.mark.parametrize(
    "block",
    ["tdnn:channels=10", "conv1d:channels=10,stride=1", "bottleneck", "tenet:channels=10,stride=1", "attention:dim=10,heads=2"],
)
def test_a_deeper_child_with_a_block_near_the_identity_computes_the_same(block):
    old, new = "conv1d:channels=10,kernel=3,stride=2", f"conv1d:channels=10,kernel=3,stride=2/{block}"
    parent = used(build_model(spell(old, BLOCK_TYPES), AROUND, seed=0))
    child, _ = child_of(parent, old, new)
    child.near_identity(1)
    x = torch.randn(3, 10, 24)
    torch.testing.assert_close(child(x), parent(x), atol=1e-5, rtol=1e-5)
