from dataclasses import replace

import numpy as np
import pytest
from helpers import SPACE, completed, trial

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.combiners import COMBINERS
from hpcnas.core.combiners.teams import Adaptive, Intermixed
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import MetricError
from hpcnas.core.messages import Assignment, Ready, Wait
from hpcnas.core.metrics import cross_entropy
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.stopping import Asha
from hpcnas.core.strategies import Lineup, RandomSearch
from hpcnas.core.trial import Cost, Proposal, Trial, TrialState, unscored

SCORES = (0.5, 0.7, 0.6, 0.65, 0.9, 0.8)


@pytest.mark.parametrize("name", COMBINERS)
def test_weights_are_convex(name):
    predictions = np.random.default_rng(0).standard_normal((3, 20, 4))
    weights = COMBINERS[name]().combine(predictions, np.zeros(20, np.int64))
    assert weights.shape == (3,) and (weights >= 0).all() and np.isclose(weights.sum(), 1)


@pytest.mark.parametrize("name", COMBINERS)
def test_a_member_whose_logits_are_not_finite_is_averaged_with_nobody(name):
    predictions = np.zeros((3, 20, 4))
    predictions[1, 7, 2] = np.nan
    with pytest.raises(MetricError, match="logits not finite in 1 of 20 examples"):
        COMBINERS[name]().combine(predictions, np.zeros(20, np.int64))


@pytest.mark.parametrize("name", ["weighted", "greedy"])
def test_fitted_weights_favour_the_member_that_is_right_and_beat_the_average(name):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200)
    good = 2 * np.eye(4)[labels] + rng.standard_normal((200, 4))
    predictions = np.stack([rng.standard_normal((200, 4)), good, rng.standard_normal((200, 4))])
    weights = COMBINERS[name]().combine(predictions, labels)
    assert weights[1] > 0.6
    mixed, mean = np.tensordot(weights, predictions, 1), predictions.mean(0)
    assert cross_entropy(mixed, labels) < cross_entropy(mean, labels)


def archive(scores=SCORES, teams=None) -> Archive:
    """One trial a score."""
    events = []
    for id_, score in enumerate(scores):
        given = trial(id_, f"dense:units={id_ + 1}")
        events += [replace(given, proposal=replace(given.proposal, team=(teams or {}).get(id_, ()))), completed(id_, score)]
    return Archive(events)


def test_an_adaptive_ensemble_fixes_the_winner_of_each_round_and_looks_for_the_next():
    combiner = Adaptive(trials_per_member=2)
    assert combiner.team(Archive(), 0) == () == combiner.team(archive(), 1)
    assert combiner.team(archive(), 2) == (1,) and combiner.team(archive(), 4) == (1, 3)
    assert combiner.pool(archive()) == (1, 3, 4), "what a later round may need is kept"


def test_an_intermixed_ensemble_is_made_of_the_best_single_models():
    combiner = Intermixed(every=3, size=2)
    history = archive(teams={4: (1, 2)})
    assert [combiner.team(history, id_) for id_ in range(6, 9)] == [(), (), (1, 5)]


def test_teams_are_recorded_with_the_trial_and_their_weights_are_kept():
    discarded = []
    coordinator = Coordinator(
        strategy=RandomSearch(), space=SPACE, config=SearchConfig(max_trials=9, keep_weights=1), seed=0, record=lambda e: None,
        measure=lambda architecture: Cost(1, 1, 1), combiner=Adaptive(trials_per_member=3), discard=discarded.append,
    )  # fmt: skip
    reply, teams = coordinator.handle(Ready(0)), []
    while isinstance(reply, Assignment):
        teams.append(reply.trial.proposal.team)
        reply = coordinator.handle(Ready(0, completed(reply.trial.id, (0.1, 0.9, 0.5)[reply.trial.id % 3])))
    assert teams == [()] * 3 + [(1,)] * 3 + [(1, 4)] * 3
    assert discarded and not {1, 4, 7} & set(discarded)


def test_members_that_are_trained_together_wait_for_each_other():
    given = [Proposal(Architecture.parse(f"dense:units={n}"), n, "copy", team=tuple(range(n))) for n in range(2)]
    beside = Proposal(Architecture.parse("dense:units=9"), None, "baseline", role="baseline")
    lineup = Lineup(tuple(given), (beside,))
    coordinator = Coordinator(
        strategy=lineup, space=SPACE, config=SearchConfig(max_trials=lineup.trials), seed=0, record=lambda e: None,
        measure=lambda architecture: Cost(1, 1, 1),
    )  # fmt: skip
    assert coordinator.handle(Ready(0)).trial.proposal == given[0]
    assert isinstance(coordinator.handle(Ready(1)), Wait)
    assert coordinator.handle(Ready(0, completed(0, 0.5))).trial.proposal == given[1]
    assert coordinator.handle(Ready(1)).trial.proposal == beside
    coordinator.handle(Ready(0, completed(1, 0.6)))
    assert [t.id for t in lineup.ensemble(coordinator.archive)] == [0, 1]


def test_a_member_that_failed_is_no_team_mate():
    given = [Proposal(Architecture.parse(f"dense:units={n + 1}"), n, "copy", team=tuple(range(n))) for n in range(3)]
    lineup, first, second = Lineup(tuple(given)), *(Trial(n, given[n], seed=n) for n in range(2))
    history = Archive([first, unscored(first, TrialState.FAILED, Cost(1, 1, 1), "no"), second, completed(1, 0.5)])
    assert lineup.propose(history, SPACE, np.random.default_rng(0)).team == (1,)
    assert [t.id for t in lineup.ensemble(history)] == [1]


def test_the_team_of_a_paused_trial_is_kept_until_it_may_go_on():
    discarded = []
    coordinator = Coordinator(
        strategy=RandomSearch(), space=SPACE, config=SearchConfig(max_trials=12, keep_weights=2), seed=0,
        record=lambda e: None, measure=lambda architecture: Cost(1, 1, 1), combiner=Intermixed(every=2, size=1),
        discard=discarded.append, stopping=Asha(first=1, factor=9),
    )  # fmt: skip
    reply = coordinator.handle(Ready(0))
    while isinstance(reply, Assignment):
        id_ = reply.trial.id
        score = 0.1 + id_ / 100
        result = completed(id_, score, curve=(score, score) if reply.paused else (score,))
        state = TrialState.COMPLETED if reply.paused else TrialState.PAUSED
        reply = coordinator.handle(Ready(0, replace(result, state=state)))
        for kept in coordinator._weights.there:
            if coordinator.archive.results[kept].state is TrialState.PAUSED:
                assert coordinator._weights.there.issuperset(coordinator.archive.trials[kept].proposal.team)
    assert discarded
