from dataclasses import replace

import numpy as np
import pytest
from helpers import SPACE
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.config import SpaceConfig
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.mutation import (
    FINE_STEPS,
    aligned_blocks,
    crossover,
    disorder,
    fine_step,
    grafted,
    grow,
    matching_blocks,
    random_mutation,
    random_tower,
    swap,
)
from hpcnas.core.space import BlockType, SearchSpace
from hpcnas.zoo import ZOO


def tower(*units: int) -> Architecture:
    return Architecture(tuple(Block("dense", (("units", n),)) for n in units))


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_mutations_stay_within_the_space(seed, depth):
    rng = np.random.default_rng(seed)
    parent = Architecture(tuple(SPACE.sample(rng) for _ in range(depth)))
    child = grow(parent, SPACE.sample(rng))
    assert child in SPACE and child.blocks[:-1] == parent.blocks
    index = int(rng.integers(depth))
    child = swap(parent, index, SPACE.sample(rng))
    assert child in SPACE
    assert all(child.blocks[i] == parent.blocks[i] for i in range(depth) if i != index)


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
def test_random_steps_and_crossovers_stay_within_the_space(seed, depth, other_depth):
    rng = np.random.default_rng(seed)
    parent, other = random_tower(SPACE, depth, rng), random_tower(SPACE, other_depth, rng)
    child, step = random_mutation(parent, SPACE, rng)
    assert child in SPACE
    assert child.depth - parent.depth == {"swap": 0, "insert": 1, "remove": -1}[step.split()[0]]
    mixed = crossover(parent, other, SPACE, rng)
    assert mixed in SPACE and mixed.blocks[0] == parent.blocks[0]
    low = replace(SPACE, max_depth=2)
    assert crossover(parent, other, low, rng) in low, "even where a parent was suggested that is deeper"


def test_leading_blocks_match_up_to_the_first_difference_as_in_figure_2():
    assert matching_blocks(tower(1, 2, 9, 4), tower(1, 2, 3, 4), behind=False) == {0: 0, 1: 1}


def test_blocks_behind_the_mutation_match_too_when_asked():
    assert matching_blocks(tower(1, 2, 9, 4), tower(1, 2, 3, 4), behind=True) == {0: 0, 1: 1, 3: 3}


def test_an_inserted_block_leaves_the_blocks_behind_it_aligned():
    assert matching_blocks(tower(1, 9, 2), tower(1, 2), behind=True) == {0: 0, 2: 1}


def test_no_donor_block_is_used_twice():
    pairs = matching_blocks(tower(1, 1, 1), tower(1, 1), behind=True)
    assert pairs == {0: 0, 1: 1}


@given(st.sampled_from(list(FINE_STEPS)), st.integers(0, 2**32), st.integers(1, 4))
def test_fine_steps_stay_within_the_space_and_lead_somewhere(name, seed, depth):
    rng = np.random.default_rng(seed)
    parent = random_tower(SPACE, depth, rng)
    taken = FINE_STEPS[name](parent, SPACE, rng)
    if taken is None:
        assert (name, depth) in {
            ("repeat", 4),
            ("insert", 4),
            ("remove", 1),
            ("exchange", depth),
            ("unrepeat", depth),
            ("rescale", depth),
        }
        return
    child, step = taken
    assert child in SPACE and step
    assert child.depth - depth == {"repeat": 1, "insert": 1, "unrepeat": -1, "remove": -1}.get(name, 0)
    if name in ("repeat", "unrepeat"):
        assert {b.kind for b in child.blocks} == {b.kind for b in parent.blocks}


def test_a_setting_moves_to_its_neighbour_in_all_blocks_of_its_stage():
    rng = np.random.default_rng(0)
    children = {str(FINE_STEPS["nudge"](tower(16, 16, 16), SPACE, rng)[0]) for _ in range(20)}
    assert children == {"dense*3:units=8", "dense*3:units=32"}


def test_descent_is_found_whatever_became_of_the_settings():
    assert aligned_blocks(tower(1, 2, 3), tower(4, 5, 6)) == {0: 0, 1: 1, 2: 2}
    assert aligned_blocks(tower(1, 2, 2, 3), tower(1, 2, 3)) in ({0: 0, 1: 1, 3: 2}, {0: 0, 2: 1, 3: 2})
    mixed = Architecture.parse("dense:units=1/gru:units=4/dense:units=2")
    assert aligned_blocks(mixed, tower(8, 9)) == {0: 0, 2: 1}


def test_blocks_of_other_kinds_do_not_descend_from_each_other():
    assert aligned_blocks(Architecture.parse("gru:units=4"), tower(1)) == {}


CONV = BlockType("conv", "plane", {"channels": (4, 8), "stride": (1, 2)}, "")
FOLD = BlockType("band_fold", "plane", {"channels": (8, 16)}, "", folds=True)


WIDE = SpaceConfig().build()
"""The default space: blocks over planes, over frames, and folds."""


def test_what_is_repeated_has_no_strides_of_its_own_and_pools_and_folds_are_not():
    rng = np.random.default_rng(0)
    front = "conv2d:band_stride=2,bands=3,channels=8,dilation=1,frame_stride=2,frames=3,valid=0"
    parent = Architecture.parse(
        f"{front}/avg_pool2d:bands=3,frames=4/band_fold:channels=16,kernel=3/tcres*2:channels=8,kernel=9,stride=2"
    )
    children = {str(FINE_STEPS["repeat"](parent, WIDE, rng)[0]) for _ in range(40)}
    flat = front.replace("band_stride=2", "band_stride=1").replace("frame_stride=2", "frame_stride=1")
    assert children == {str(parent).replace(front, f"{front}/{flat}"), str(parent).replace("tcres*2", "tcres*3")}


@pytest.mark.parametrize("name", ["remove", "swap"])
def test_a_stage_keeps_its_stride_when_its_first_block_goes(name):
    parent, rng = Architecture.parse("bcres*3:channels=8,dilation=1,stride=2"), np.random.default_rng(0)
    for _ in range(20):
        child, _ = FINE_STEPS[name](parent, WIDE, rng)
        left = [dict(block.settings)["stride"] for block in child.blocks if block.kind == "bcres" and block in parent.blocks]
        assert left.count(2) == 1


@given(st.integers(0, 2**32), st.sampled_from(list(ZOO.values())), st.sampled_from(list(ZOO.values())))
def test_steps_and_crossovers_put_no_planes_behind_sequences(seed, one, other):
    rng = np.random.default_rng(seed)
    towers = [one.tower, other.tower]
    child, _ = fine_step(towers[0], WIDE, rng)
    assert disorder(child, WIDE) <= disorder(towers[0], WIDE)
    assert disorder(crossover(*towers, WIDE, rng), WIDE) <= max(disorder(tower, WIDE) for tower in towers)


def test_disorder_counts_planes_and_folds_behind_a_sequence():
    fold, conv, dense = "band_fold:channels=16,kernel=3", "conv:channels=8,kernel=3,stride=1", "dense:units=32"
    for tower, expected in (([conv, fold, dense], 0), ([conv, dense], 0), ([dense, conv], 1), ([fold, conv, fold], 2)):
        assert disorder(Architecture.parse("/".join(tower)), WIDE) == expected


@given(st.integers(0, 2**32))
def test_a_graft_has_stages_over_planes_then_a_fold_then_stages_over_frames(seed):
    space, rng = SearchSpace((CONV, FOLD, *SPACE.types), max_depth=9), np.random.default_rng(seed)
    front = Architecture.parse("conv:channels=4,stride=2/conv*2:channels=8,stride=1/band_fold:channels=8/dense:units=8")
    tail = Architecture.parse("conv:channels=4,stride=1/dense:units=16/gru*3:layers=1,units=4")
    kinds = [(block.kind, dict(block.settings).get("units")) for block in grafted(front, tail, space, rng).blocks]
    planes = next(place for place, (kind, _) in enumerate(kinds) if kind == "band_fold")
    assert kinds[:planes] == [("conv", None)] * planes and 1 <= planes <= 3
    behind = kinds[planes + 1 :]
    assert behind and behind == [("dense", 16)] * behind.count(("dense", 16)) + [("gru", 4)] * behind.count(("gru", 4))


def test_what_has_no_stages_over_planes_is_no_front_and_what_has_none_over_frames_no_tail():
    space, rng = SearchSpace((CONV, FOLD, *SPACE.types), max_depth=9), np.random.default_rng(0)
    planes, frames = Architecture.parse("conv:channels=4,stride=2"), Architecture.parse("dense:units=8")
    assert grafted(planes, frames, space, rng) is not None
    assert grafted(frames, planes, space, rng) is None
    assert grafted(planes, planes, space, rng) is None and grafted(frames, frames, space, rng) is None
    assert grafted(planes, frames, replace(space, max_depth=2), rng) is None, "deeper than the space allows"
