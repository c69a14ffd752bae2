import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core import resampling
from hpcnas.core.detection import det_curve, equal_error_rate, log_odds, miss_rate_at, roc_area
from hpcnas.core.errors import MetricError
from hpcnas.core.metrics import accuracy
from hpcnas.core.significance import bootstrap_interval, mcnemar, share_interval

SCORES = np.array([0.1, 0.4, 0.35, 0.8])
IS_TARGET = np.array([False, False, True, True])


def test_a_detection_curve_by_hand():
    curve = det_curve(SCORES, IS_TARGET)
    assert curve.thresholds.tolist() == [0.1, 0.35, 0.4, 0.8, np.inf]
    assert curve.misses.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.false_alarms.tolist() == [1, 0.5, 0.5, 0, 0]
    assert miss_rate_at(curve, 0.0) == 0.5 and miss_rate_at(curve, 0.5) == 0.0
    assert det_curve(SCORES, IS_TARGET, negative_hours=0.5).false_alarms.tolist() == [4, 2, 2, 0, 0]


def test_the_area_counts_pairs_in_the_right_order():
    assert roc_area(SCORES, IS_TARGET) == 0.75, "three of four pairs"
    assert roc_area(np.zeros(4), IS_TARGET) == 0.5


def test_the_equal_error_rate_of_known_cases():
    assert equal_error_rate(np.array([0.0, 0.1, 0.8, 0.9]), IS_TARGET) == 0.0
    assert equal_error_rate(np.array([0.8, 0.9, 0.0, 0.1]), IS_TARGET) == 1.0
    assert equal_error_rate(SCORES, IS_TARGET) == 0.5
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 40_000), rng.normal(2, 1, 20_000)])
    # Two unit normals two apart cross at one: the EER is the normal distribution's tail behind 1.
    assert equal_error_rate(scores, np.arange(60_000) >= 40_000) == pytest.approx(0.1587, abs=0.005)


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=40))
def test_a_curve_falls_and_rises_between_its_ends_and_ignores_monotone_changes(pairs):
    scores, is_target = np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])
    if is_target.all() or not is_target.any():
        with pytest.raises(MetricError):
            det_curve(scores, is_target)
        return
    curve = det_curve(scores, is_target)
    assert (np.diff(curve.misses) >= 0).all() and (np.diff(curve.false_alarms) <= 0).all()
    assert (curve.misses[0], curve.misses[-1]) == (0, 1) and (curve.false_alarms[0], curve.false_alarms[-1]) == (1, 0)
    assert 0 <= equal_error_rate(scores, is_target) <= 1
    assert roc_area(scores, is_target) + roc_area(-scores, is_target) == pytest.approx(1)


def test_log_odds_are_those_of_the_probabilities():
    p = np.array([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(log_odds(np.log(p)), np.log(p / (1 - p)))


def test_a_bootstrap_interval_is_as_wide_as_the_binomial_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    logits = np.eye(2)[np.where(rng.random(400) < 0.9, labels, 1 - labels)]
    low, high = bootstrap_interval(resampling.accuracy, logits, labels)
    assert low < accuracy(logits, labels) < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 400), rel=0.15)


def test_the_bootstrap_leaves_out_resamples_of_one_class():
    low, high = bootstrap_interval(resampling.roc_area, np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 1]))
    assert 0 <= low <= high == 1


def test_the_bootstrap_of_what_is_never_defined_says_so():
    with pytest.raises(MetricError, match="undefined in all 1000 resamples of 3 examples"):
        bootstrap_interval(resampling.roc_area, np.zeros((3, 2)), np.array([1, 1, 1]))


def test_the_interval_of_a_share_by_hand():
    low, high = share_interval(0.0, 10)
    assert low == 0.0 and high == pytest.approx(1.96**2 / (10 + 1.96**2))
    assert share_interval(0.1, 400) == pytest.approx((0.0743, 0.1333), abs=1e-3)


def test_mcnemar_by_hand():
    right, wrong = np.ones(10, bool), np.zeros(10, bool)
    assert mcnemar(right, right) == 1.0
    assert mcnemar(right, wrong) == pytest.approx(2 / 2**10)
    one, other = np.array([True] * 8 + [False] * 2), np.array([False] * 8 + [True] * 2)
    assert mcnemar(one, other) == mcnemar(other, one) == pytest.approx(2 * (1 + 10 + 45) / 2**10)
