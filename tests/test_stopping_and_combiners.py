import numpy as np
import pytest
from helpers import completed, trial

from hpcnas.core.archive import Archive
from hpcnas.core.combiners import COMBINERS
from hpcnas.core.messages import Progress
from hpcnas.core.stopping import STOPPING, Median

HISTORY = Archive([e for i in range(9) for e in (trial(i, f"dense:units={i + 1}"), completed(i, 0.9, curve=(i / 10, 0.9)))])


@pytest.mark.parametrize("name", STOPPING)
def test_no_rule_stops_the_first_trial_or_the_best_one(name):
    rule = STOPPING[name]()
    assert rule.keep_going(Archive(), Progress(0, 1, 0.0))
    assert rule.keep_going(HISTORY, Progress(9, 1, 1.0))


def test_the_median_rule_stops_what_lies_below_the_middle_at_the_same_epoch():
    assert Median().keep_going(HISTORY, Progress(9, 1, 0.4))
    assert not Median().keep_going(HISTORY, Progress(9, 1, 0.39))
    assert Median(grace=2).keep_going(HISTORY, Progress(9, 1, 0.0))


@pytest.mark.parametrize("name", COMBINERS)
def test_weights_are_convex(name):
    predictions = np.random.default_rng(0).standard_normal((3, 20, 4))
    weights = COMBINERS[name]().combine(predictions, np.zeros(20, np.int64))
    assert weights.shape == (3,) and (weights >= 0).all() and np.isclose(weights.sum(), 1)
