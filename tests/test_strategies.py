"""What every strategy must do, and what the paper's does."""

from collections.abc import Sequence

import numpy as np
import pytest
from helpers import SPACE, completed, trial

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import ConfigError
from hpcnas.core.messages import Assignment, Ready
from hpcnas.core.mutation import random_tower
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.space import BlockType, SearchSpace
from hpcnas.core.strategies import STRATEGIES, Incremental, LocalSearch
from hpcnas.core.strategies.constrained import Constrained
from hpcnas.core.strategies.incremental import LEAVE_BEAM, LEAVE_RULE
from hpcnas.core.strategies.regularized_evolution import RegularizedEvolution
from hpcnas.core.strategies.surrogate import Harmonica, LinearModel, lasso
from hpcnas.core.trial import Cost, Proposal, Trial

SOME = Archive(
    [e for i in range(12) for e in (trial(i, f"dense:units={(8, 16, 32)[i % 3]}/gru:layers=1,units=4"), completed(i, i / 20))]
)


FIXED = {
    "constrained": {"cell": 1, "cells": 2, "reduction": "dense:units=8", "beam": 4},
    "replay": {"architectures": ("dense:units=8", "gru:layers=1,units=4")},
}


@pytest.mark.parametrize("archive", [Archive(), SOME], ids=["empty", "filled"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_proposals_lie_in_the_space_and_depend_on_archive_and_generator_alone(name, archive):
    strategy = STRATEGIES[name](**FIXED.get(name, {}))
    proposals = [strategy.propose(archive, SPACE, np.random.default_rng(seed)) for seed in range(50)]
    assert all(p.architecture in SPACE for p in proposals)
    assert all(p.parent is None or p.parent in archive.trials for p in proposals)
    assert len({p.architecture for p in proposals}) > 5 or name == "replay"
    assert proposals == [strategy.propose(archive, SPACE, np.random.default_rng(seed)) for seed in range(50)]


def paper(scored: int, depth: int, **changes) -> list:
    """Proposals of the paper's rule with ``scored`` candidates, the best of which has ``depth`` blocks."""
    best = "/".join(["dense:units=8"] * depth)
    events = [trial(0, best), completed(0, 0.9)]
    events += [e for i in range(1, scored) for e in (trial(i, "gru:layers=1,units=4"), completed(i, 0.1))]
    archive = Archive(events)
    return [Incremental(**changes).propose(archive, SPACE, np.random.default_rng(s)) for s in range(40)]


@pytest.mark.parametrize(
    ("scored", "depth", "grows"), [(1, 1, False), (9, 1, False), (10, 1, True), (14, 2, False), (15, 2, True), (99, 4, False)]
)
def test_depth_grows_while_below_the_floor_of_candidates_over_m_and_below_k(scored, depth, grows):
    proposals = paper(scored, depth, trials_per_block=5)
    assert {p.mutation.split()[0] for p in proposals} == {"grow" if grows else "swap"}
    assert {p.architecture.depth for p in proposals} == {depth + grows}
    assert {p.parent for p in proposals} == {0}, "the best candidate is the one that is mutated"


def test_replacing_reaches_every_position():
    assert {p.mutation for p in paper(5, 3)} == {"swap 0", "swap 1", "swap 2"}


def test_a_candidate_that_cannot_go_on_by_the_rule_is_changed_otherwise_and_then_left():
    archive = Archive([trial(0, "dense:units=8"), completed(0, 0.9), trial(1, "gru:layers=1,units=4"), completed(1, 0.1)])
    by_refusals = {
        refused: {
            (p.parent, p.mutation)
            for p in (Incremental().propose(archive, SPACE, np.random.default_rng(s), refused) for s in range(60))
        }
        for refused in (0, LEAVE_RULE, LEAVE_BEAM)
    }
    assert by_refusals[0] == {(0, "swap 0")}
    assert by_refusals[LEAVE_RULE] == {(0, "swap 0"), (0, "grow")}
    assert by_refusals[LEAVE_BEAM] == {(parent, mutation) for parent in (0, 1) for mutation in ("swap 0", "grow")}


def test_beam_and_grow_probability_are_options_beside_the_rule():
    assert len({p.parent for p in paper(20, 2, beam=5)}) == 5
    assert {p.mutation.split()[0] for p in paper(20, 2, grow_probability=0.5)} == {"grow", "swap"}


def test_thresholds_may_be_spelled_out_and_blocks_inserted_anywhere():
    assert {p.mutation.split()[0] for p in paper(7, 1, thresholds=(8, 20), initial_depth=1)} == {"swap"}
    assert {p.mutation.split()[0] for p in paper(8, 1, thresholds=(8, 20), initial_depth=1)} == {"grow"}
    assert {p.mutation for p in paper(15, 2, grow_at="anywhere")} == {"insert 0", "insert 1", "insert 2"}


def test_evolution_mutates_the_best_of_a_sample_of_the_youngest():
    proposals = [RegularizedEvolution(population=4, sample=4).propose(SOME, SPACE, np.random.default_rng(s)) for s in range(20)]
    assert {p.parent for p in proposals} == {11}
    old = [RegularizedEvolution(population=3, sample=1).propose(SOME, SPACE, np.random.default_rng(s)) for s in range(60)]
    assert {p.parent for p in old} == {9, 10, 11}


def test_cells_are_repeated_with_a_reduction_behind_each():
    strategy = Constrained(cell=2, cells=3, reduction="max_pool:size=2", initial=1)
    first = strategy.propose(Archive(), SPACE, np.random.default_rng(0)).architecture
    cell, reduction = first.blocks[:2], Block.parse("max_pool:size=2")
    assert first.blocks == (*cell, reduction) * 3
    archive = Archive([trial(0, str(first)), completed(0, 0.5)])
    child = strategy.propose(archive, SPACE, np.random.default_rng(1))
    assert child.parent == 0 and child.architecture.blocks[:3] * 3 == child.architecture.blocks


@pytest.mark.parametrize("repeat", [True, False])
def test_a_suggestion_with_fewer_blocks_than_cells_need_is_filled_up(repeat):
    strategy = Constrained(cell=2, cells=3, repeat=repeat, initial=1)
    archive = Archive([trial(0, "dense:units=8"), completed(0, 0.5)])
    child = strategy.propose(archive, SPACE, np.random.default_rng(1))
    assert child.parent == 0 and child.architecture.depth == strategy.depth == 9


def test_the_surrogates_learn_which_block_helps():
    rng = np.random.default_rng(0)
    towers = [random_tower(SPACE, 3, rng) for _ in range(60)]
    scores = np.array([0.5 + 0.1 * sum(b.kind == "gru" for b in t.blocks) for t in towers])
    new = [Architecture.parse("/".join(["dense:units=8"] * 3)), Architecture.parse("/".join(["gru:layers=1,units=4"] * 3))]
    for strategy in (LinearModel(), Harmonica()):
        low, high = strategy.predict(towers, scores, new)
        assert high - low > 0.15


def test_a_lasso_finds_the_few_coefficients_that_matter():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 200))
    b = lasso(x, 2 * x[:, 3] - x[:, 77], 0.05, rounds=500)
    assert set(np.flatnonzero(abs(b) > 0.3)) == {3, 77}


@pytest.mark.parametrize("change", [{"beam": 0}, {"trials_per_block": 0}, {"grow_probability": 1.5}])
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(ConfigError, match=f"strategy.{next(iter(change))}"):
        Incremental(**change)


PLANES = SearchSpace((BlockType("conv", "plane", {"channels": (4, 8)}, ""), *SPACE.types), max_depth=6)


def local_proposals(suggested: Sequence[str], begun: int, **changes) -> list[Proposal]:
    """Of local search, with these towers suggested and so many further trials behind it, all scored."""
    archive = Archive()
    for id_ in range(len(suggested) + begun):
        tower = Architecture.parse(suggested[id_] if id_ < len(suggested) else f"dense:units=8/gru:layers=1,units={id_}")
        archive.add(Trial(id_, Proposal(tower, None, "suggestion" if id_ < len(suggested) else "graft"), seed=id_))
        archive.add(completed(id_, id_ / 20))
    return [LocalSearch(**changes).propose(archive, PLANES, np.random.default_rng(seed)) for seed in range(60)]


def test_local_search_begins_with_grafts_of_what_was_suggested():
    towers = ["conv:channels=8", "dense:units=32", "gru:layers=2,units=8"]
    grafts = local_proposals(towers, begun=2, grafts=3)
    assert {str(one.architecture) for one in grafts} == {
        "conv:channels=8/dense:units=32",
        "conv:channels=8/gru:layers=2,units=8",
    }
    assert {one.mutation for one in grafts} == {"graft of 1 on 0", "graft of 2 on 0"}
    assert all(one.fills for one in grafts), "two small towers in one are still small"
    assert all(one.parent is None for one in grafts), "what comes first has nobody's weights, and is as old as all others"
    assert all(one.parent is not None for one in local_proposals(towers, begun=3, grafts=3))


def test_local_search_varies_what_it_has_where_nothing_can_be_grafted():
    assert all(one.parent is not None for one in local_proposals(["dense:units=32", "gru:layers=2,units=8"], begun=4))
    assert {one.mutation for one in local_proposals([], begun=2)} == {"start"}


def test_local_search_crosses_two_of_the_best_as_often_as_it_is_told():
    crossed = [one.mutation.startswith("crossed with") for one in local_proposals([], begun=8, crossover=0.5)]
    assert 10 < sum(crossed) < 40, "half, less those that drew the same trial twice"
    assert not any(one.mutation.startswith("crossed") for one in local_proposals([], begun=8, crossover=0.0))


def test_a_search_goes_on_when_all_grafts_of_a_few_towers_were_tried():
    towers = ["conv:channels=8", "dense:units=32"]
    starts = [Proposal(Architecture.parse(tower), None, "suggestion") for tower in towers]
    coordinator = Coordinator(
        LocalSearch(grafts=16),
        PLANES,
        SearchConfig(max_trials=12),
        0,
        record=lambda event: None,
        measure=lambda tower: Cost(100, 1000, 50),
        starts=starts,
    )
    result = None
    while isinstance(answer := coordinator.handle(Ready(0, result)), Assignment):
        result = completed(answer.trial.id, answer.trial.id / 20)
    mutations = [one.proposal.mutation for one in coordinator.archive.trials.values()]
    assert len(mutations) == 12 and mutations.count("graft of 1 on 0") == 1, coordinator.ended
