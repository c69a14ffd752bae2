import numpy as np
import pytest

from hpcnas.core.detection import miss_rate_at
from hpcnas.core.errors import MetricError
from hpcnas.core.spotting import Detection, Spoken, SpottingConfig, detections, smoothed, spotting_curve

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


def test_hits_misses_and_false_alarms_by_hand():
    spoken = [Spoken(0, 1.0, 2.0), Spoken(1, 5.0, 6.0), Spoken(0, 9.0, 10.0)]
    found = [
        Detection(0, 1.5, 0.9),  # a hit
        Detection(0, 2.4, 0.3),  # of the same word: neither
        Detection(0, 5.5, 0.6),  # another keyword's place: a false alarm
        Detection(1, 5.4, 0.5),  # a hit
        Detection(1, 20.0, 0.7),  # a false alarm
    ]
    curve = spotting_curve(found, spoken, hours=0.5, config=CONFIG)
    assert curve.thresholds.tolist() == [0.5, 0.6, 0.7, 0.9, np.inf]
    np.testing.assert_allclose(curve.misses, [1 / 3, 2 / 3, 2 / 3, 2 / 3, 1])
    assert curve.false_alarms.tolist() == [4, 4, 2, 0, 0]
    assert miss_rate_at(curve, 1.0) == pytest.approx(2 / 3) and miss_rate_at(curve, 4.0) == pytest.approx(1 / 3)


def test_without_keywords_or_other_audio_there_is_no_curve():
    for spoken, hours in (([], 1.0), ([Spoken(0, 0.0, 1.0)], 0.0)):
        with pytest.raises(MetricError):
            spotting_curve([], spoken, hours, CONFIG)
