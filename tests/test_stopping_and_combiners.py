import numpy as np
import pytest
from helpers import completed, trial

from hpcnas.core.archive import Archive
from hpcnas.core.combiners import COMBINERS
from hpcnas.core.messages import Progress
from hpcnas.core.metrics import cross_entropy
from hpcnas.core.stopping import STOPPING, Median, Patience

HISTORY = Archive([e for i in range(9) for e in (trial(i, f"dense:units={i + 1}"), completed(i, 0.9, curve=(i / 10, 0.9)))])


@pytest.mark.parametrize("name", STOPPING)
def test_no_rule_stops_the_first_trial_or_the_best_one(name):
    rule = STOPPING[name]()
    assert rule.keep_going(Archive(), Progress(0, (0.0,)))
    assert rule.keep_going(HISTORY, Progress(9, (1.0,)))


def test_the_median_rule_stops_what_lies_below_the_middle_at_the_same_epoch():
    assert Median().keep_going(HISTORY, Progress(9, (0.4,)))
    assert not Median().keep_going(HISTORY, Progress(9, (0.39,)))
    assert Median(grace=2).keep_going(HISTORY, Progress(9, (0.0,)))


def test_patience_waits_for_so_many_epochs_without_gain():
    assert Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4)))
    assert Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4, 0.6)))
    assert not Patience(epochs=2).keep_going(Archive(), Progress(0, (0.5, 0.4, 0.5)))


@pytest.mark.parametrize("name", COMBINERS)
def test_weights_are_convex(name):
    predictions = np.random.default_rng(0).standard_normal((3, 20, 4))
    weights = COMBINERS[name]().combine(predictions, np.zeros(20, np.int64))
    assert weights.shape == (3,) and (weights >= 0).all() and np.isclose(weights.sum(), 1)


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
