from dataclasses import replace

import numpy as np
import pytest
from helpers import SPACE, completed, trial
from simulated import Cluster

from hpcnas.core.archive import Archive
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Progress, Ready, Verdict
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.stopping import STOPPING, Asha, Median, Patience
from hpcnas.core.strategies import RandomSearch
from hpcnas.core.trial import Cost, Result, Trial, TrialState

HISTORY = Archive([e for i in range(9) for e in (trial(i, f"dense:units={i + 1}"), completed(i, 0.9, curve=(i / 10, 0.9)))])


@pytest.mark.parametrize("name", STOPPING)
def test_no_rule_stops_the_best_trial(name):
    rule = STOPPING[name]()
    assert rule.judge(HISTORY, Progress(9, (1.0,))) is Verdict.CONTINUE
    assert rule.promote(HISTORY, lambda trial: True) is None, "nothing is paused"


def test_the_median_rule_stops_what_lies_below_the_middle_at_the_same_epoch():
    assert Median().keep_going(HISTORY, Progress(9, (0.4,)))
    assert not Median().keep_going(HISTORY, Progress(9, (0.39,)))
    assert Median(grace=2).keep_going(HISTORY, Progress(9, (0.0,)))


def paused(id_: int, *curve: float) -> Result:
    return replace(completed(id_, curve[-1], curve=curve), state=TrialState.PAUSED)


def test_asha_lets_the_best_third_go_on_from_a_rung():
    archive = Archive([e for i in range(5) for e in (trial(i, f"dense:units={i + 1}"), paused(i, i / 10))])
    rule = Asha(first=1, factor=3)
    assert rule.judge(archive, Progress(5, (0.35,))) is Verdict.CONTINUE, "second of six"
    assert rule.judge(archive, Progress(5, (0.25,))) is Verdict.PAUSE, "third of six"
    assert rule.judge(archive, Progress(5, (0.0, 0.0))) is Verdict.CONTINUE, "no rung after two epochs"
    assert Asha(first=2, factor=2).judge(Archive(), Progress(0, (0.5,) * 4)) is Verdict.PAUSE, "nobody to compare with"


def test_asha_promotes_a_paused_trial_that_came_to_be_among_the_best_highest_rung_first():
    rule = Asha(first=1, factor=3)
    archive = Archive([e for i in range(3) for e in (trial(i, f"dense:units={i + 1}"), paused(i, i / 10))])
    assert rule.promote(archive, {0, 1, 2}.__contains__) == 2
    assert rule.promote(archive, {0, 1}.__contains__) is None, "trial 2 runs already, or has no weights any more"
    for event in [e for i in range(3, 9) for e in (trial(i, f"dense:units={i + 1}"), paused(i, 0.5, 0.5, i / 10))]:
        archive.add(event)
    assert rule.promote(archive, lambda trial: True) == 8


def test_a_paused_trial_goes_on_and_its_result_is_replaced():
    events = [e for i in range(3) for e in (trial(i, f"dense:units={8 * 2**i}"), paused(i, i / 10))]
    coordinator = Coordinator(
        strategy=RandomSearch(), space=SPACE, config=SearchConfig(max_trials=4), seed=0, record=events.append,
        measure=lambda architecture: Cost(1, 1, 1), stopping=Asha(), archive=Archive(events),
    )  # fmt: skip
    promoted = coordinator.handle(Ready(0))
    assert promoted.trial.id == 2 and promoted.paused.curve == (0.2,) and promoted.donors == ()
    assert coordinator.handle(Ready(1)).trial.id == 3, "meanwhile something new"
    coordinator.handle(Ready(0, completed(2, 0.9, curve=(0.2, 0.9))))
    assert coordinator.archive.results[2].score == 0.9
    assert [r.trial for r in coordinator.archive.ranking] == [2, 1, 0]
    assert [r.trial for r in Archive(events).ranking] == [2, 1, 0], "and the journal says the same"


def curve(trial: Trial) -> tuple[float, ...]:
    final = np.random.default_rng(trial.seed).beta(8, 2)
    return tuple(final * (1 - np.exp(-epoch / 2)) for epoch in range(1, 9))


def test_paused_trials_that_may_go_on_keep_their_weights_though_many_groups_leave_many():
    """With the weights of the best and the latest ten alone, 17 of 26 went on."""
    went_on = {}
    for keep in (10, 10**9):
        cluster = Cluster("a" * 151, curves=curve, epoch_s=lambda trial: np.random.default_rng(trial.seed).lognormal(4, 0.05))
        discarded = []
        coordinator = cluster.coordinator(600, stopping=Asha(), keep_weights=keep, discard=discarded.append)
        cluster.run(coordinator)
        went_on[keep] = sum(isinstance(event, Result) for event in cluster.events) - 600
        assert len(discarded) == len(set(discarded)) and (keep > 10 or len(discarded) > 550), "nearly all are let go of"
    assert went_on[10] == went_on[10**9] > 20


def test_patience_waits_for_so_many_epochs_without_gain():
    assert Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4)))
    assert Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4, 0.6)))
    assert not Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4, 0.5)))
