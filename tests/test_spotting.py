import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core.detection import miss_rate_at
from hpcnas.core.errors import MetricError
from hpcnas.core.spotting import (
    Detection,
    Smoother,
    Spoken,
    Spotter,
    SpottingConfig,
    detections,
    heard,
    smoothed,
)

CONFIG = SpottingConfig(hop_s=0.1, smoothing_s=0.3, refractory_s=0.75, tolerance_s=0.5)


def test_smoothing_is_the_mean_of_the_last_scores():
    scores = smoothed(np.array([[0.0], [0.3], [0.6], [0.9], [0.0]]), CONFIG)
    np.testing.assert_allclose(scores[:, 0], [0.0, 0.15, 0.3, 0.6, 0.5])


def test_a_keyword_is_detected_once_within_its_refractory_time():
    times = np.arange(0, 3, 0.1)
    scores = np.zeros((len(times), 2))
    scores[[5, 7, 20], 0] = 0.8, 0.9, 0.7
    found = [d for d in detections(scores, times, [0], CONFIG) if d.score > 0]
    assert [(round(d.time_s, 1), d.score) for d in found] == [(0.7, 0.9), (2.0, 0.7)]


def highest_first(scores_SK, times_s, keywords, config):
    """What ``detections`` says, as it is said there."""
    found = []
    for keyword in keywords:
        free = np.ones(len(times_s), bool)
        for at in np.argsort(-scores_SK[:, keyword], kind="stable"):
            if free[at]:
                found.append(Detection(keyword, float(times_s[at]), float(scores_SK[at, keyword])))
                free &= np.abs(times_s - times_s[at]) >= max(config.refractory_s, config.hop_s)
    return sorted(found, key=lambda one: (one.time_s, one.keyword))


@given(
    scores=st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=80),
    piece=st.integers(1, 90),
    refractory_s=st.sampled_from([0.0, 0.1, 0.35, 0.75, 3.0]),
    threshold=st.sampled_from([-np.inf, 0.0, 0.2, 0.41]),
)
def test_detections_are_the_same_piece_by_piece_with_ties_slopes_and_plateaus(scores, piece, refractory_s, threshold):
    config = SpottingConfig(refractory_s=refractory_s)
    scores, times = np.array(scores) / 10, 0.5 + 0.1 * np.arange(len(scores))
    expected = [one for one in highest_first(scores, times, [0, 1], config) if one.score >= threshold]
    spotter, found = Spotter([0, 1], config, threshold), []
    for start in range(0, len(scores), piece):
        found += spotter.push(scores[start : start + piece], times[start : start + piece])
    assert [*found, *spotter.finish()] == expected
    if threshold == -np.inf:
        assert detections(scores, times, [0, 1], config) == expected


def test_a_detection_is_told_when_its_refractory_time_is_over():
    spotter, told_at = Spotter([0], CONFIG, threshold=0.5), {}
    for step in range(600):
        score = 0.9 if step % 100 == 20 else 0.1
        told_at.update({round(one.time_s, 1): step for one in spotter.push(np.array([[score]]), np.array([0.1 * step]))})
    assert told_at == {2.0 + 10 * n: 28 + 100 * n for n in range(6)}


def test_scores_that_are_not_finite_are_told():
    with pytest.raises(MetricError, match="not finite"):
        Spotter([0], CONFIG, threshold=0.5).push(np.array([[0.9], [np.nan]]), np.array([0.0, 0.1]))


@given(st.integers(1, 40), st.integers(1, 12), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
def test_smoothing_is_the_same_piece_by_piece(count, piece, smoothing_s):
    config = SpottingConfig(smoothing_s=smoothing_s)
    posteriors = np.random.default_rng(count).random((count, 3))
    smoother = Smoother(config)
    pieces = [smoother.push(posteriors[start : start + piece]) for start in range(0, count, piece)]
    np.testing.assert_allclose(np.concatenate(pieces), smoothed(posteriors, config), rtol=1e-12)
    width = max(1, round(10 * smoothing_s))
    by_hand = [posteriors[max(0, s - width + 1) : s + 1].mean(0) for s in range(count)]
    np.testing.assert_allclose(np.concatenate(pieces), by_hand, rtol=1e-12)


def test_hits_misses_and_false_alarms_by_hand():
    spoken = [Spoken(0, 1.0, 2.0), Spoken(1, 5.0, 6.0), Spoken(0, 9.0, 10.0)]
    found = [
        Detection(0, 1.5, 0.9),  # a hit
        Detection(0, 2.4, 0.3),  # of the same word: neither
        Detection(0, 5.5, 0.6),  # another keyword's place: a false alarm
        Detection(1, 5.4, 0.5),  # a hit
        Detection(1, 20.0, 0.7),  # a false alarm
    ]
    curve = heard(found, spoken, hours=0.5, config=CONFIG).curve
    assert curve.thresholds.tolist() == [0.5, 0.6, 0.7, 0.9, np.inf]
    np.testing.assert_allclose(curve.misses, [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1])
    assert curve.false_alarms.tolist() == [4, 4, 2, 0, 0]
    assert miss_rate_at(curve, 1.0) == pytest.approx(2 / 3) and miss_rate_at(curve, 4.0) == pytest.approx(1 / 3)


def test_without_keywords_or_other_audio_there_is_no_curve():
    for spoken, hours in (([], 1.0), ([Spoken(0, 0.0, 1.0)], 0.0)):
        with pytest.raises(MetricError):
            _ = heard([], spoken, hours, CONFIG).curve
