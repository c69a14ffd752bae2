"""Misses against false alarms an hour: what audio without keywords can tell, and how surely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.errors import MetricError
from hpcnas.core.false_alarms import Alarms, Heard, hours_needed, supports
from hpcnas.core.significance import poisson_interval
from hpcnas.core.thresholds import chosen


def heard(hits, alarms, hours=1.0) -> Heard:
    false = Alarms(np.zeros(len(alarms), int), np.array(alarms, float), hours)
    return Heard(np.zeros(len(hits), int), np.array(hits, float), false)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (3, 0.6187, 8.7673), (10, 4.7954, 18.3904), (100, 81.3639, 121.6268)],
)
def test_intervals_of_counts_are_the_tables(count, low, high):
    assert poisson_interval(count) == pytest.approx((low, high), abs=2e-4)


def test_three_expected_alarms_are_enough():
    assert supports(3.0, 1.0) and not supports(2.9, 1.0) and supports(30, 0.1) and hours_needed(0.5) == 6.0


@given(
    hits=st.lists(st.integers(1, 10), min_size=1, max_size=20),
    alarms=st.lists(st.integers(1, 10), max_size=20),
    rate=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    hours=st.sampled_from([0.5, 3.0, 7.0]),
)
def test_misses_at_a_rate_are_those_of_the_best_threshold_that_keeps_it(hits, alarms, rate, hours):
    one = heard(np.array(hits) / 10, np.array(alarms) / 10, hours)
    found = one.misses_at(rate)
    thresholds = [*np.arange(1, 11) / 10, 2.0]
    kept = [t for t in thresholds if (one.alarms.scores >= t).sum() <= rate * hours + 1e-9]
    assert found.value == pytest.approx(min((one.hits < t).mean() for t in kept))
    assert found.low <= found.value <= found.high
    curve = one.curve
    assert found.value == pytest.approx(curve.misses[curve.false_alarms <= rate + 1e-9].min())
    thresholds = np.array([chosen(one, rate)[0]])
    assert one.alarms_from(thresholds).value <= rate + 1e-9
    assert one.misses_from(thresholds).value == pytest.approx(found.value)


def test_false_alarms_at_a_share_of_misses():
    one = heard([0.1, 0.5, 0.6, 0.9], [0.2, 0.5, 0.55, 0.95], hours=2.0)
    assert one.alarms_at(0.0).value == 2.0  # the threshold is 0.1
    assert one.alarms_at(0.25).value == 1.5  # 0.5
    assert one.alarms_at(0.5).value == 0.5  # 0.6
    assert (one.alarms_at(0.5).low, one.alarms_at(0.5).high) == pytest.approx(tuple(x / 2 for x in poisson_interval(1)))
    assert heard([-np.inf, 0.9], [0.3]).alarms_at(0.0) is None, "the first was never heard"


def test_an_interval_knows_that_the_threshold_is_uncertain():
    hits, alarms = np.linspace(0, 1, 400), np.linspace(0, 1, 12)
    few, many = heard(hits, alarms, 4.0), heard(hits, np.repeat(alarms, 100), 400.0)
    widths = [one.misses_at(1.0).high - one.misses_at(1.0).low for one in (few, many)]
    assert widths[0] > 2 * widths[1]


def test_alarms_of_several_recordings_are_joined_with_their_hours():
    parts = [Alarms(np.array([0]), np.array([0.5]), 1.0), Alarms(np.array([1, 0]), np.array([0.7, 0.9]), 0.5)]
    joined = Alarms.joined(parts)
    assert joined.hours == 1.5 and joined.of_keyword(0).scores.tolist() == [0.5, 0.9] and Alarms.joined([]).hours == 0


def test_without_keywords_or_other_audio_there_are_no_misses():
    for one in (heard([], [0.5]), heard([0.5], [], 0.0)):
        with pytest.raises(MetricError):
            _ = one.curve
