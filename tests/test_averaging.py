"""The moving average of a model's weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from hpcnas.nn.averaging import Average


def linear(weight: float) -> nn.Linear:
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    return model


def test_the_average_follows_the_weights():
    model = linear(0)
    average = Average(model, horizon=4)
    seen = []
    for step in range(1, 40):
        nn.init.constant_(model.weight, step)
        average.follow()
        seen.append(average.model.weight[0, 0].item())
    assert seen[0] == 1 and all(before < after < step for step, (before, after) in enumerate(pairwise(seen), 2))
    assert seen[-1] == pytest.approx(39 - 3, abs=0.1)  # behind a line by one step less than the horizon


def test_statistics_are_averaged_too_and_counters_are_not_torn():
    model = nn.BatchNorm1d(2)
    average = Average(model, horizon=3)
    for _ in range(3):
        model(torch.randn(8, 2) + 5)
        average.follow()
    assert 0 < average.model.running_mean.mean() < model.running_mean.mean()
    assert average.model.num_batches_tracked.dtype == torch.int64


def test_it_goes_on_where_it_stood_or_begins_anew():
    model = linear(3)
    average = Average(model, horizon=4)
    for weight in (1, 2, 5):
        nn.init.constant_(model.weight, weight)
        average.follow()
    again = Average(linear(7), horizon=4)
    again.load_state(average.state())
    assert torch.equal(average.model.weight, again.model.weight)
    nn.init.constant_(model.weight, 7)
    average.follow()
    again.follow()
    assert torch.equal(average.model.weight, again.model.weight) and average.model.weight[0, 0] < 7
    average.reset()
    assert torch.equal(average.model.weight, model.weight)


@pytest.mark.parametrize("horizon", [0, 0.3, 1])
def test_over_one_step_it_is_the_model_itself(horizon):
    model = linear(1)
    average = Average(model, horizon)
    average.follow()
    average.reset()
    assert average.model is model and average.state() == {}
