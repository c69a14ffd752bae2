"""Who is left out where ranks fail, and what becomes of the trials: the coordinator and the roster in simulated time."""

from __future__ import annotations

from collections import Counter

import pytest
from simulated import Cluster, Fails

from hpcnas.core.blame import Strangers
from hpcnas.core.messages import Fault
from hpcnas.core.roster import FIRST_REST_S
from hpcnas.core.second_tries import MAX_ATTEMPTS
from hpcnas.core.trial import Trial, TrialState


def states(coordinator) -> Counter:
    return Counter(result.state for result in coordinator.archive.results.values())


def sick(*ranks: int, **more):
    """These ranks fail with whatever they are given."""
    return lambda group, trial: next((Fails(rank, **more) for rank in group.ranks if rank in ranks), None)


def test_a_sick_rank_is_left_out_and_no_trial_fails():
    cluster = Cluster("a" * 8, sick(3))
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 60} and done.finished
    assert cluster.roster.left_out == {3} and not cluster.roster.lost
    begun = [event for event in cluster.events if isinstance(event, Trial)]
    assert len(begun) == 62, "two trials were begun again"


@pytest.mark.parametrize("ranks", [(1,), (7,), (1, 2), (1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("after_s", [0.0, 0.3, 7.0])
def test_whole_nodes_may_be_sick_fast_or_slowly(ranks, after_s):
    cluster = Cluster("a" * 8, sick(*ranks, after_s=after_s))
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 60} and cluster.roster.left_out == set(ranks)


@pytest.mark.parametrize(("size", "rank"), [(2, 3), (2, 4), (3, 5), (6, 1), (7, 2)])
def test_of_a_group_the_sick_rank_is_found_and_its_mates_go_on(size, rank):
    cluster = Cluster("a" * 8, sick(rank), group_size=size)
    done = cluster.run(cluster.coordinator(30))
    assert states(done) == {TrialState.COMPLETED: 30} and cluster.roster.left_out == {rank}


def test_a_trial_that_breaks_whatever_trains_it_fails_on_three_ranks_and_no_rank_is_left_out():
    tried = []

    def fate(group, trial):
        if trial.id == 4:
            tried.append(group.ranks[0])
            return Fails(group.ranks[0])

    cluster = Cluster("a" * 8, fate)
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 59, TrialState.FAILED: 1} and not cluster.roster.left_out
    assert len(set(tried)) == len(tried) == MAX_ATTEMPTS, "each time another rank"
    assert "cut off 3 times, the last time: rank" in done.archive.results[4].error


@pytest.mark.parametrize("share", [3, 5, 10])
def test_many_such_trials_leave_all_ranks_in_the_end(share):
    cluster = Cluster("a" * 16, lambda group, trial: Fails(group.ranks[0]) if trial.id % share == 0 else None)
    done = cluster.run(cluster.coordinator(120))
    bad = len(range(0, 120, share))
    assert states(done) == {TrialState.COMPLETED: 120 - bad, TrialState.FAILED: bad}
    assert len(cluster.roster.left_out) <= 2, "who failed at one of them, and then at another, is taken in again"


def test_a_sick_rank_and_such_a_trial_are_told_apart():
    def fate(group, trial):
        return Fails(group.ranks[0]) if group.ranks[0] == 5 or trial.id == 20 else None

    cluster = Cluster("a" * 8, fate)
    done = cluster.run(cluster.coordinator(60))
    assert cluster.roster.left_out == {5}
    assert {r.trial for r in done.archive.results.values() if r.state is TrialState.FAILED} == {20}


@pytest.mark.parametrize("poisoned", [0, 5, 19])
def test_a_single_rank_is_told_from_a_trial_that_breaks_it(poisoned):
    """It has results in between; if there are none to be had, the next job, which may be elsewhere, has the last word."""
    cluster = Cluster("aa", lambda group, trial: Fails(1) if trial.id == poisoned else None)
    done = cluster.run(cluster.coordinator(20))
    if poisoned == 19:
        assert cluster.roster.left_out == {1} and not done.finished
        cluster = Cluster("aa", cluster.fate)
        done = cluster.run(cluster.coordinator(20, archive=done.archive))
    assert states(done) == {TrialState.COMPLETED: 19, TrialState.FAILED: 1} and done.finished
    assert not cluster.roster.left_out


def test_when_every_rank_is_sick_the_job_ends_and_no_trial_has_failed():
    cluster = Cluster("aabb", sick(1, 2, 3))
    done = cluster.run(cluster.coordinator(60))
    assert cluster.roster.is_empty and not done.finished and not done.archive.results
    again = Cluster("aa")
    resumed = again.run(again.coordinator(60, archive=done.archive))
    assert states(resumed) == {TrialState.COMPLETED: 60}


def test_a_rank_that_has_results_in_between_is_not_left_out():
    given = Counter()

    def fate(group, trial):
        given[group.ranks[0]] += 1
        return Fails(3) if group.ranks[0] == 3 and given[3] % 2 else None

    cluster = Cluster("a" * 8, fate)
    done = cluster.run(cluster.coordinator(60))
    assert not cluster.roster.left_out and states(done) == {TrialState.COMPLETED: 60}


@pytest.mark.parametrize("size", [1, 2])
def test_what_is_too_large_for_a_rank_is_tried_on_another_one(size):
    cluster = Cluster("a" * 9, lambda g, t: Fails(3, Fault.MEMORY) if 3 in g.ranks and t.id % 4 == 0 else None, size)
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 60} and not cluster.roster.left_out


@pytest.mark.parametrize("nodes", ["aa", "a" * 9])
@pytest.mark.parametrize("size", [1, 2])
def test_what_is_too_large_for_all_is_recorded_as_failed_and_no_rank_is_sick(nodes, size):
    if size >= len(nodes):
        return
    tried = []

    def fate(group, trial):
        if trial.id % 10 == 7:
            tried.append((trial.id, group.ranks[-1]))
            return Fails(group.ranks[-1], Fault.MEMORY)

    cluster = Cluster(nodes, fate, size)
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 54, TrialState.FAILED: 6} and not cluster.roster.left_out
    assert len(tried) == 12 and (len(set(tried)) == 12 or nodes == "aa"), "twice each, on different ranks"
    assert done.archive.results[7].error.startswith("out of memory, tried 2 times: ")


def test_storage_that_comes_back_costs_a_rank_some_rests():
    cluster = Cluster("a" * 8)
    cluster.fate = lambda group, trial: (
        Fails(3, Fault.STORAGE) if group.ranks[0] == 3 and cluster.clock.now < 2 * FIRST_REST_S else None
    )
    done = cluster.run(cluster.coordinator(60))
    assert not cluster.roster.left_out and states(done) == {TrialState.COMPLETED: 60}


def test_storage_that_stays_away_costs_the_rank_alone():
    failed_at = []

    def fate(group, trial):
        if group.ranks[0] == 3:
            failed_at.append(cluster.clock.now)
            return Fails(3, Fault.STORAGE, after_s=0.0)

    cluster = Cluster("a" * 8, fate)
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 60} and cluster.roster.left_out == {3} and len(failed_at) == 3
    assert failed_at[1] - failed_at[0] >= FIRST_REST_S and failed_at[2] - failed_at[1] >= 2 * FIRST_REST_S


def test_a_group_that_breaks_by_nobody_s_fault_is_taken_apart():
    """A link between two devices is broken: both say that the other one is gone."""

    def fate(group, trial):
        return Fails(1, Fault.MATES) if {1, 2} <= set(group.ranks) else None

    cluster = Cluster("a" * 9, fate, group_size=2)
    done = cluster.run(cluster.coordinator(40))
    assert states(done) == {TrialState.COMPLETED: 40} and not cluster.roster.left_out


def test_killed_ranks_still_count_against_the_trial():
    cluster = Cluster("a" * 8, lambda group, trial: Fails(group.ranks[0], is_killed=True) if trial.id == 9 else None)
    done = cluster.run(cluster.coordinator(60))
    assert states(done) == {TrialState.COMPLETED: 59, TrialState.FAILED: 1}
    assert len(cluster.roster.lost) == MAX_ATTEMPTS and not cluster.roster.left_out


def test_without_a_roster_nobody_is_suspected():
    alone = Strangers()
    assert alone.ranks(3) == {3} and not alone.is_doubtful(3) and not alone.has_others(frozenset({3})) and not alone.is_empty
