"""Towers over the limits are scaled in width until they keep them."""

import numpy as np
import pytest
from helpers import completed
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.config import SpaceConfig
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.budget import Budget
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.fitting import neighbours, scaled, shrunk, widened
from hpcnas.core.messages import Assignment, Ready
from hpcnas.core.mutation import random_tower, rescale
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.strategies import STRATEGIES
from hpcnas.nn.cost import CostTable
from hpcnas.zoo import ZOO

CONFIG = SpaceConfig(max_params=10_000)
SPACE = CONFIG.build()
"""The default space."""
COSTS = CostTable(CONFIG.surroundings(40, 12), 100)


def fits(most: int):
    return lambda tower: COSTS.measure(tower).params <= most


def widths(tower: Architecture) -> list[int]:
    return [dict(b.settings)[SPACE.type_of(b.kind).width] for b in tower.blocks]


@settings(max_examples=20)  # each measures a few dozen blocks
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([5_000, 10_000, 30_000]))
def test_a_tower_over_a_limit_keeps_it_afterwards_and_its_shape(seed, depth, most):
    tower = random_tower(SPACE, depth, np.random.default_rng(seed))
    narrow = shrunk(tower, SPACE, fits(most))
    if narrow is None:
        assert not fits(most)(scaled(tower, SPACE, 1 / 32))
        return
    assert fits(most)(narrow)
    assert [b.kind for b in narrow.blocks] == [b.kind for b in tower.blocks]
    assert all(a <= b for a, b in zip(widths(narrow), widths(tower)))
    assert (narrow == tower) == fits(most)(tower), "what fits is left alone"


def test_scaling_goes_no_further_than_it_must():
    tower = Architecture.parse("tdnn*3:channels=96,dilation=1,kernel=3")
    params = COSTS.measure(shrunk(tower, SPACE, fits(30_000))).params
    assert 15_000 < params <= 30_000


def test_what_scaling_leaves_of_a_limit_is_used_up():
    around = CONFIG.surroundings(40, 40)
    measure = CostTable(around, 100).measure
    tower = ZOO["BC-ResNet-1"].tower
    assert 10_000 < measure(tower).params < 10_300
    narrow = shrunk(tower, SPACE, lambda one: measure(one).params <= 10_000)
    assert 9_000 < measure(narrow).params <= 10_000
    assert [b.kind for b in narrow.blocks] == [b.kind for b in tower.blocks]


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([5_000, 30_000, 100_000]))
def test_a_tower_that_is_to_fill_a_limit_keeps_it_and_its_shape(seed, depth, most):
    tower = random_tower(SPACE, depth, np.random.default_rng(seed))
    wide = widened(tower, SPACE, fits(most))
    if not fits(most)(tower):
        assert wide == shrunk(tower, SPACE, fits(most))
        return
    assert fits(most)(wide)
    assert [b.kind for b in wide.blocks] == [b.kind for b in tower.blocks]
    assert all(a >= b for a, b in zip(widths(wide), widths(tower)))
    sizes = [COSTS.measure(scaled(tower, SPACE, 2 ** (step / 4))).params for step in range(9)]
    assert COSTS.measure(wide).params >= max(size for size in sizes if size <= most), "no wider one would fit"


def test_a_narrow_tower_comes_to_use_the_limit():
    narrow = Architecture.parse("tdnn*3:channels=16,dilation=1,kernel=3/dense:units=32")
    assert COSTS.measure(narrow).params < 5_000
    assert 25_000 < COSTS.measure(widened(narrow, SPACE, fits(30_000))).params <= 30_000


def test_stages_that_scaling_makes_alike_are_told_apart_again():
    tower = Architecture.parse("dense:units=32/dense:units=40/dense:units=48")
    narrow = shrunk(tower, SPACE, lambda one: sum(widths(one)) <= 60)
    assert sum(widths(narrow)) > 48 and len(narrow.blocks) == 3


def strides(tower: Architecture) -> list[int]:
    return [dict(b.settings).get("stride", 0) for b in tower.blocks]


@pytest.mark.parametrize("model", ZOO.values(), ids=list(ZOO))
@pytest.mark.parametrize("share", [0.3, 0.7, 3.0])
def test_published_towers_keep_limits_and_all_but_widths_when_fitted(model, share):
    """The first block of a repetition alone has its stride."""
    most = share * COSTS.measure(model.tower).params
    for fitted in (shrunk(model.tower, SPACE, fits(most)), widened(model.tower, SPACE, fits(most))):
        if fitted is not None:
            assert fits(most)(fitted)
            assert strides(fitted) == strides(model.tower)
            assert [b.kind for b in fitted.blocks] == [b.kind for b in model.tower.blocks]


def test_what_is_left_of_a_limit_can_be_used():
    narrow, rng = Architecture.parse("tdnn*3:channels=16,dilation=1,kernel=3"), np.random.default_rng(0)
    taken = [shrunk(step[0], SPACE, fits(30_000)) for _ in range(40) if (step := rescale(narrow, SPACE, rng))]
    assert max(COSTS.measure(tower).params for tower in taken) > 2 * COSTS.measure(narrow).params
    assert min(widths(tower)[0] for tower in taken) < 16, "or given back"
    assert rescale(Architecture.parse("max_pool:size=2"), SPACE, rng) is None


def test_blocks_without_a_width_and_blocks_that_the_space_lacks_stay_as_they_are():
    tower = Architecture.parse("max_pool:size=2/unheard:units=64/dense:units=64")
    narrow = scaled(tower, SPACE, 0.5)
    assert narrow.blocks[:2] == tower.blocks[:2] and narrow.blocks[2] == Block.parse("dense:units=32")


def test_blocks_of_a_suggestion_that_the_space_does_not_draw_are_scaled_too():
    assert str(scaled(Architecture.parse("gru:units=64"), SPACE, 0.5)) == "gru:units=32"


@pytest.mark.parametrize(("value", "expected"), [(8, [16]), (16, [8, 32]), (20, [16, 32]), (32, [16]), (4, [8]), (99, [32])])
def test_neighbours_of_a_value_lie_next_to_it_whether_it_is_a_choice_or_not(value, expected):
    assert neighbours(value, (32, 8, 16)) == expected


class Counting:
    """A strategy whose proposals are counted."""

    def __init__(self, inner: object) -> None:
        self.inner, self.proposals = inner, 0

    def propose(self, *arguments):
        self.proposals += 1
        return self.inner.propose(*arguments)


@pytest.mark.parametrize("name", ["local_search", "incremental"])
def test_under_a_small_limit_proposals_are_seldom_refused(name):
    strategy, budget = Counting(STRATEGIES[name]()), Budget(max_params=10_000, max_activations=100_000)
    config = SearchConfig(max_trials=12)
    coordinator = Coordinator(strategy, SPACE, config, 0, record=lambda event: None, measure=COSTS.measure, budget=budget)
    rng, result, trials = np.random.default_rng(0), None, 0
    while isinstance(answer := coordinator.handle(Ready(0, result)), Assignment):
        result = completed(answer.trial.id, rng.random())
        trials += 1
    assert trials == 12 and strategy.proposals / trials <= 3, f"{strategy.proposals / trials - 1:.1f} refusals a trial"
