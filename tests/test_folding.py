"""Branches of training are folded into what is deployed, which does the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hpcnas.core.space import spell
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.cost import measure
from hpcnas.nn.folding import folded
from hpcnas.nn.model import Model, Surroundings, build_model

BRANCHED = "tenet:channels=8,expand=2,stride=2/tenet:channels=8,expand=2,stride=1"


def trained(tower: str, causal: bool = False) -> Model:
    """With weights and statistics that no layer begins with."""
    model = build_model(spell(tower, BLOCK_TYPES), Surroundings(10, 3, causal=causal), seed=0)
    for _ in range(3):
        model(torch.randn(16, 10, 40))
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("causal", [False, True])
def test_a_folded_model_gives_the_same_with_fewer_parameters(causal):
    model = trained(BRANCHED, causal)
    one, x = folded(model), torch.randn(5, 10, 37)
    assert torch.allclose(one(x), model(x), atol=1e-5)
    lengths = torch.tensor([37, 20, 9, 30, 1])
    assert torch.allclose(one(x, lengths), model(x, lengths), atol=1e-5)
    assert sum(p.numel() for p in one.parameters()) < sum(p.numel() for p in model.parameters())
    if causal:
        assert torch.allclose(one.stream(x)[0], model(x), atol=1e-5)


def test_branches_cost_nothing_once_trained():
    expand, over_nine, project, classifier = 10 * 16 + 32, 16 * 9 + 32, 16 * 8 + 16, 8 * 3 + 3
    cost = measure(trained("tenet:channels=8,expand=2,stride=1").requires_grad_(), 10, 40)
    assert cost.params == expand + over_nine + project + classifier


def test_what_has_no_branches_is_left_as_it_is():
    model = trained("mbconv1d:channels=12,kernel=9,stride=2")
    assert folded(model) is model
