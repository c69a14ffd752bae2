from dataclasses import replace
from itertools import count

import pytest
from helpers import SPACE, completed, trial

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.inheritance import Parent
from hpcnas.core.messages import Ahead, Assignment, Progress, Ready, Stop, Verdict, Wait
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.second_tries import MAX_ATTEMPTS
from hpcnas.core.stopping import Asha, Median
from hpcnas.core.strategies import Incremental, RandomSearch
from hpcnas.core.strategies.replay import Replay
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState


def size(architecture: Architecture) -> Cost:
    units = sum(dict(block.settings)["units"] for block in architecture.blocks)
    return Cost(units, 10 * units, units)


def make(events: list, **changes) -> Coordinator:
    config = SearchConfig(**{k: changes.pop(k) for k in ("max_trials", "time_limit", "keep_weights") if k in changes})
    parts = {"strategy": RandomSearch(), "space": SPACE, "config": config, "seed": 0, "record": events.append, "measure": size}
    return Coordinator(**{**parts, **changes})


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_result_buys_the_group_its_next_trial():
    events = []
    coordinator = make(events, max_trials=2)
    first = coordinator.handle(Ready(group=0))
    second = coordinator.handle(Ready(group=0, result=completed(first.trial.id, 0.9)))
    assert (first.trial.id, second.trial.id) == (0, 1)
    assert [type(e) for e in events] == [Trial, Result, Trial]


def test_a_trial_that_is_chosen_ahead_is_begun_when_the_one_before_is_back():
    events = []
    coordinator = make(events, max_trials=2)
    first = coordinator.handle(Ready(0)).trial
    second = coordinator.handle(Ahead(0)).trial
    assert coordinator.running == 2 and coordinator.handle(Ready(0, completed(first.id, 0.9))) is None, "it was answered before"
    assert coordinator.running == 1 and [type(e) for e in events] == [Trial, Trial, Result]
    assert coordinator.handle(Ahead(0)) is None, "there are no more"
    assert isinstance(coordinator.handle(Ready(0, completed(second.id, 0.1))), Stop) and coordinator.finished


def test_given_architectures_are_tried_again_but_not_over_the_limits():
    events = []
    replay = Replay(architectures=("dense:units=8", "dense:units=32"))
    coordinator = make(events, max_trials=4, strategy=replay, budget=Budget(max_params=16))
    first = coordinator.handle(Ready(0)).trial
    third = coordinator.handle(Ready(0, completed(first.id, 0.9))).trial
    assert first.architecture == third.architecture and (first.id, third.id) == (0, 2)
    assert events[3].trial == 1 and events[3].state is TrialState.INFEASIBLE


def test_nothing_is_chosen_ahead_of_the_end_of_a_job():
    coordinator = make([])
    coordinator.handle(Ready(0))
    coordinator.suspended = True
    assert coordinator.handle(Ahead(0)) is None and isinstance(coordinator.handle(Ready(0, completed(0, 0.9))), Stop)


def test_a_lost_group_gives_back_what_was_chosen_ahead_as_it_was():
    coordinator = make([], max_trials=2)
    first, second = coordinator.handle(Ready(0)).trial, coordinator.handle(Ahead(0)).trial
    assert coordinator.lose(0, "rank 3 is gone") == [first, second]
    again, chosen = coordinator.handle(Ready(1)).trial, coordinator.handle(Ahead(1)).trial
    assert (again, chosen) == (replace(first, attempt=2), second), "only the first has cost a group"
    coordinator.handle(Ready(1, completed(again.id, 0.9)))
    assert coordinator.lose(1, "rank 4 is gone") == [second]
    assert coordinator.handle(Ready(2)).trial == replace(second, attempt=2)


def test_the_search_ends_when_all_trials_are_back():
    coordinator = make([], max_trials=2)
    coordinator.handle(Ready(0))
    coordinator.handle(Ready(1))
    assert isinstance(coordinator.handle(Ready(2)), Wait), "a group may be lost, and its trial be this one's"
    coordinator.handle(Ready(0, completed(0, 0.1)))
    assert not coordinator.finished
    assert isinstance(coordinator.handle(Ready(1, completed(1, 0.2))), Stop)
    assert isinstance(coordinator.handle(Ready(2)), Stop)
    assert coordinator.finished


def test_nothing_is_tried_twice_not_even_at_the_same_time():
    coordinator = make([], max_trials=30)
    tried = [coordinator.handle(Ready(group)).trial.architecture for group in range(30)]
    assert len(set(tried)) == 30


def test_the_same_seed_and_results_give_the_same_trials():
    def run() -> list[str]:
        coordinator = make([], max_trials=10, strategy=Incremental(trials_per_block=2))
        reply, tried = coordinator.handle(Ready(0)), []
        while isinstance(reply, Assignment):
            tried.append(str(reply.trial.architecture))
            score = (len(tried) * 37 % 11) / 11
            reply = coordinator.handle(Ready(0, completed(reply.trial.id, score)))
        return tried

    assert run() == run()


def test_only_what_fits_the_budget_is_proposed():
    coordinator = make([], max_trials=5, budget=Budget(max_params=16))
    costs = [size(coordinator.handle(Ready(g)).trial.architecture) for g in range(5)]
    assert max(cost.params for cost in costs) <= 16


def test_a_tower_at_the_size_limit_is_changed_in_place_though_its_depth_would_let_it_grow():
    coordinator = make([], max_trials=20, strategy=Incremental(trials_per_block=1), budget=Budget(max_params=16))
    reply = coordinator.handle(Ready(0))
    while isinstance(reply, Assignment):
        reply = coordinator.handle(Ready(0, completed(reply.trial.id, reply.trial.id / 100)))
    assert len(coordinator.archive.results) >= 10, "all that fit, not only those on the way of growing"


def test_suggestions_come_first_unless_they_are_over_the_budget():
    starts = [Proposal(Architecture.parse(f"dense:units={n}"), None, "suggestion") for n in (9, 99, 7)]
    coordinator = make([], max_trials=5, starts=starts, budget=Budget(max_params=16))
    trials = [coordinator.handle(Ready(g)).trial for g in range(4)]
    assert [t.id for t in trials] == [0, 2, 3, 4]
    assert [str(t.architecture) for t in trials[:2]] == ["dense:units=9", "dense:units=7"]
    assert coordinator.archive.results[1].error == "params = 99, over max_params = 16"


def test_suggestions_over_the_budget_are_made_narrower_where_the_space_says_so():
    starts = [Proposal(Architecture.parse("dense:units=99"), None, "zoo Big")]
    coordinator = make([], max_trials=2, starts=starts, space=replace(SPACE, fit=True), budget=Budget(max_params=16))
    first = coordinator.handle(Ready(0)).trial
    assert str(first.architecture) == "dense:units=16" and first.proposal.mutation == "zoo Big, scaled"
    assert first.proposal.is_suggestion


def test_suggestions_that_become_alike_when_narrowed_are_tried_once():
    starts = [Proposal(Architecture.parse(f"dense:units={n}"), None, f"zoo {n}") for n in (99, 64, 8)]
    coordinator = make([], max_trials=3, starts=starts, space=replace(SPACE, fit=True), budget=Budget(max_params=16))
    towers = [coordinator.handle(Ready(g)).trial.proposal for g in range(3)]
    assert [str(one.architecture) for one in towers[:2]] == ["dense:units=16", "dense:units=8"]
    assert [one.is_suggestion for one in towers] == [True, True, False], "the third trial is the strategy's"


def test_a_space_without_anything_new_ends_the_search_with_a_reason():
    coordinator = make([], max_trials=50, budget=Budget(max_params=1))
    reply = coordinator.handle(Ready(0))
    assert isinstance(reply, Stop) and "no new architecture" in reply.reason


def test_a_budget_of_training_steps_ends_the_search_when_it_is_spent():
    coordinator = make([], config=SearchConfig(max_trials=50, max_steps=45))
    reply = coordinator.handle(Ready(0))
    while isinstance(reply, Assignment):
        reply = coordinator.handle(Ready(0, completed(reply.trial.id, 0.5)))  # of 20 steps
    assert len(coordinator.archive.results) == 3 and reply.reason == "60 training steps done, of 45"


def test_the_time_limit_counts_what_earlier_parts_of_the_run_took():
    clock = Clock(9.0)
    coordinator = make([], time_limit=10.0, elapsed=clock)
    assert isinstance(coordinator.handle(Ready(0)), Assignment)
    clock.now = 10.0
    assert "time limit of 10 s" in coordinator.handle(Ready(0, completed(0, 0.5))).reason


def test_an_architecture_that_cannot_be_built_is_recorded_as_failed_and_the_search_goes_on():
    def picky(architecture: Architecture) -> Cost:
        if architecture.blocks[0].kind == "gru":
            raise ArchitectureError("no grus today")
        return size(architecture)

    events = []
    coordinator = make(events, max_trials=20, measure=picky)
    groups = count()
    while isinstance(reply := coordinator.handle(Ready(next(groups))), Assignment):
        assert reply.trial.architecture.blocks[0].kind == "dense"
    failures = [e for e in events if isinstance(e, Result)]
    assert failures and all(f.state is TrialState.FAILED and f.error == "no grus today" for f in failures)
    assert coordinator.archive.next_id == 20


def test_cut_off_trials_run_again_under_their_ids_and_seeds():
    before = Archive([trial(0), trial(1, "gru:layers=1,units=4"), completed(0, 0.5)])
    coordinator = make([], archive=before)
    again = coordinator.handle(Ready(0)).trial
    assert (again.id, again.seed, again.attempt) == (1, 1, 2)
    assert coordinator.handle(Ready(1)).trial.id == 2


def test_a_trial_that_is_cut_off_again_and_again_is_given_up():
    unlucky = Trial(0, trial(0).proposal, seed=0, attempt=MAX_ATTEMPTS)
    events = []
    coordinator = make(events, archive=Archive([unlucky]))
    assert coordinator.handle(Ready(0)).trial.id == 1
    assert events[0].state is TrialState.FAILED and "cut off 3 times" in events[0].error


def test_when_the_job_must_end_running_trials_are_suspended_and_groups_sent_home():
    coordinator = make([])
    running = coordinator.handle(Ready(0)).trial
    coordinator.suspended = True
    assert coordinator.handle(Progress(running.id, (0.5,))) is Verdict.SUSPEND
    assert isinstance(coordinator.handle(Ready(0)), Stop)
    assert not coordinator.finished
    again = make([], archive=coordinator.archive).handle(Ready(0)).trial
    assert again == running, "the same id and seed, and no attempt is counted"


def test_the_trial_of_a_lost_group_is_given_out_again():
    events = []
    coordinator = make(events, max_trials=1)
    first = coordinator.handle(Ready(0)).trial
    assert isinstance(coordinator.handle(Ready(1)), Wait)
    assert coordinator.lose(0, "rank 3 is gone") == [first]
    again = coordinator.handle(Ready(1)).trial
    assert (again.id, again.seed, again.attempt) == (first.id, first.seed, 2)
    coordinator.handle(Ready(1, completed(0, 0.5)))
    assert coordinator.lose(1, "after the end") == []
    assert coordinator.finished and [type(e) for e in events] == [Trial, Trial, Result]


def test_a_trial_that_breaks_every_group_is_given_up_with_the_reason():
    coordinator = make([], max_trials=2)
    for group in range(MAX_ATTEMPTS):
        assert coordinator.handle(Ready(group)).trial.id == 0
        coordinator.lose(group, f"loss {group}")
    assert coordinator.handle(Ready(9)).trial.id == 1
    assert coordinator.archive.results[0].state is TrialState.FAILED
    assert coordinator.archive.results[0].error == "cut off 3 times, the last time: loss 2"


def paused(id_: int, score: float) -> Result:
    return replace(completed(id_, score, curve=(score,)), state=TrialState.PAUSED)


def test_a_paused_trial_that_was_chosen_ahead_waits_for_another_group():
    before = Archive([e for i in range(9) for e in (trial(i, f"dense:units={8 + i}"), paused(i, i / 10))])
    coordinator = make([], max_trials=9, archive=before, stopping=Asha())
    first, second = coordinator.handle(Ready(0)), coordinator.handle(Ahead(0))
    assert first.paused and second.paused
    coordinator.lose(0, "it hangs")
    assert {coordinator.handle(message).trial.id for message in (Ready(1), Ahead(1))} == {first.trial.id, second.trial.id}
    assert all(result.state is TrialState.PAUSED for result in before.results.values())


def test_a_paused_trial_that_breaks_every_group_keeps_what_it_had_reached():
    before = Archive([e for i in range(3) for e in (trial(i, f"dense:units={8 * 2**i}"), paused(i, i / 10))])
    coordinator = make([], max_trials=3, archive=before, stopping=Asha())
    for group in range(MAX_ATTEMPTS):
        assert coordinator.handle(Ready(group)).trial.id == 2
        coordinator.lose(group, "it hangs")
    assert isinstance(coordinator.handle(Ready(9)), Stop) and coordinator.finished
    assert (before.results[2].state, before.results[2].score) == (TrialState.STOPPED, 0.2)


def test_no_trial_is_begun_that_cannot_finish_and_no_epoch():
    clock, left = Clock(0.0), Clock(100.0)
    coordinator = make([], elapsed=clock, time_left=left)
    first = coordinator.handle(Ready(0)).trial
    clock.now = 10.0
    assert coordinator.handle(Progress(first.id, (0.5,))) is Verdict.CONTINUE
    second = coordinator.handle(Ready(0, replace(completed(0, 0.5), seconds=20.0)))
    clock.now, left.now = 40.0, 29.0
    assert coordinator.handle(Progress(second.trial.id, (0.5,))) is Verdict.SUSPEND, "an epoch takes 30 s"
    assert isinstance(coordinator.handle(Ready(1)), Assignment), "a group's first trial is begun, however long it may take"
    left.now = 19.0
    assert "nearly up" in coordinator.handle(Ready(0)).reason
    coordinator.handle(Ready(1, completed(2, 0.5)))
    assert not coordinator.finished


def test_the_stopping_rule_is_asked_after_every_epoch():
    earlier = [e for i in range(5) for e in (trial(i, f"dense:units={i + 1}"), completed(i, 0.8, curve=(0.6, 0.8)))]
    coordinator = make([], archive=Archive(earlier), stopping=Median())
    running = coordinator.handle(Ready(0)).trial
    assert coordinator.handle(Progress(running.id, (0.7,))) is Verdict.CONTINUE
    assert coordinator.handle(Progress(running.id, (0.5,))) is Verdict.STOP


def test_donors_are_named_and_weights_that_nobody_needs_are_discarded():
    discarded = []
    coordinator = make([], strategy=Incremental(), inheritance=Parent(), keep_weights=1, discard=discarded.append)
    coordinator.handle(Ready(0))
    second = coordinator.handle(Ready(0, completed(0, 0.5)))
    assert [d.trial.id for d in second.donors] == [0]
    third = coordinator.handle(Ready(0, completed(second.trial.id, 0.9)))
    assert [d.trial.id for d in third.donors] == [1] and discarded == [0]


def test_parents_of_running_trials_keep_their_weights():
    discarded = []
    coordinator = make([], strategy=Incremental(), inheritance=Parent(), keep_weights=1, discard=discarded.append)
    coordinator.handle(Ready(0))
    first = coordinator.handle(Ready(0, completed(0, 0.5)))  # a child of trial 0 starts to run
    second = coordinator.handle(Ready(1))
    coordinator.handle(Ready(0, completed(first.trial.id, 0.9)))
    assert second.trial.proposal.parent == 0 and discarded == []


@pytest.mark.parametrize("key", ["max_trials", "group_size", "keep_weights"])
def test_a_search_of_nothing_is_refused(key):
    with pytest.raises(ConfigError, match=f"search.{key} = 0"):
        SearchConfig(**{key: 0})
