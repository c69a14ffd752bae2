from dataclasses import replace
from math import inf, isfinite, nan

from helpers import completed, trial
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.archive import Archive
from hpcnas.core.pareto import pareto_front
from hpcnas.core.trial import NOT_FINITE, Cost, TrialState, unscored


def test_a_trial_runs_until_it_has_a_result():
    archive = Archive([trial(0), trial(1), completed(1, 0.5)])
    assert [t.id for t in archive.running] == [0]
    assert archive.next_id == 2


def test_the_best_has_the_highest_score_then_the_lowest_loss_then_the_lowest_number():
    events = [trial(i, f"dense:units={i + 1}") for i in range(4)]
    events += [completed(0, 0.8), completed(1, 0.9, loss=2.0), completed(2, 0.9, loss=1.0), completed(3, 0.9, loss=2.0)]
    assert [t.id for t in Archive(events).best(4)] == [2, 1, 3, 0]


def test_a_failed_trial_is_never_best_but_counts_as_seen():
    only = trial(0)
    archive = Archive([only, unscored(only, TrialState.FAILED, Cost(1, 1, 1), "no")])
    assert archive.best() == [] and archive.seen(only.architecture) and not archive.running


def test_a_second_attempt_replaces_the_first():
    archive = Archive([trial(0), replace(trial(0), attempt=2)])
    assert archive.trials[0].attempt == 2 and len(archive.running) == 1


def test_lineage_goes_from_the_first_architecture_to_the_winner():
    archive = Archive([trial(0), trial(1, "gru:units=4", parent=0), trial(2), trial(3, "gru:units=8", parent=1)])
    assert [t.id for t in archive.lineage(3)] == [0, 1, 3]


def test_no_member_of_the_front_is_beaten_by_a_smaller_trial():
    results = [
        completed(i, score, params=params)
        for i, (score, params) in enumerate([(0.5, 10), (0.4, 20), (0.7, 30), (0.7, 40), (0.9, 50)])
    ]
    front = pareto_front(results)
    assert [r.trial for r in front] == [0, 2, 4]
    for member in front:
        assert not any(o.score >= member.score and o.cost.params < member.cost.params for o in results)


def test_an_archive_made_at_once_and_one_event_after_the_other_are_the_same():
    paused = [replace(completed(i, i % 3 / 10, curve=(i % 3 / 10,)), state=TrialState.PAUSED) for i in range(6)]
    events = [e for i in range(6) for e in (trial(i, f"dense:units={i + 1}"), paused[i])]
    events += [completed(4, 0.7, curve=(0.1, 0.7)), replace(paused[2], state=TrialState.FAILED), trial(7)]
    at_once, one_by_one = Archive(events), Archive()
    for event in events:
        one_by_one.add(event)
    for archive in (at_once, one_by_one):
        assert [r.trial for r in archive.ranking] == [4, 5, 1, 0, 3]
        assert archive.paused() == {1: [(-0.2, 5), (-0.1, 1), (0.0, 0), (0.0, 3)]} and archive.after(2) == [(-0.7, 4)]
    assert list(at_once.results) == list(one_by_one.results) and at_once.steps == one_by_one.steps


SCORES = st.sampled_from([0.1, 0.5, 0.9, nan, inf, -inf])


@given(st.lists(st.tuples(SCORES, SCORES, st.lists(SCORES, min_size=1, max_size=3), st.booleans()), max_size=12))
def test_a_score_that_is_not_finite_is_ranked_nowhere_live_or_after_a_replay(given):
    """A trial with one has failed, and the others are in order, whichever way the archive came about."""
    events, sound = [], set()
    for id_, (score, loss, curve, goes_on) in enumerate(given):
        result = completed(id_, score, loss=loss, curve=(*curve, score))
        events.append(trial(id_, f"dense:units={id_ + 1}"))
        if goes_on:
            events.append(replace(completed(id_, curve[0], curve=(curve[0],)), state=TrialState.PAUSED))
        events.append(result)
        if all(map(isfinite, (score, loss, *curve))):
            sound.add(id_)
        else:
            assert (result.state, result.error) == (TrialState.FAILED, NOT_FINITE)
    at_once, one_by_one = Archive(events), Archive()
    for event in events:
        one_by_one.add(event)
    for archive in (at_once, one_by_one):
        ranking = archive.ranking
        assert {result.trial for result in ranking} == sound == {t.id for t in archive.best(None)}
        assert ranking == sorted(ranking, key=lambda result: (-result.score, result.loss, result.trial))
        assert {id_ for _, id_ in archive.after(1)} == sound and not any(archive.paused().values())
        assert {result.trial for result in archive.latest(99)} == sound
