"""Probabilities that are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from hpcnas.core import metrics
from hpcnas.core.calibration import calibrated_loss, expected_calibration_error, none_below, temperature


def drawn(count: int = 4000, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``scale`` times those of which labels are drawn."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, 5))
    chances = np.exp(metrics.log_posteriors(logits))
    labels = (chances.cumsum(1) > rng.random((count, 1))).argmax(1)
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_by_how_much_logits_are_too_large(scale):
    logits, labels = drawn(scale=scale)
    found = temperature(logits, labels)
    assert found == pytest.approx(scale, rel=0.1)
    assert expected_calibration_error(logits / found, labels) < 0.03
    assert metrics.cross_entropy(logits / found, labels) <= metrics.cross_entropy(logits, labels) + 1e-9


def test_the_calibrated_loss_tells_what_is_known_and_not_how_surely_it_is_said():
    logits, labels = drawn()
    doubted = logits + np.random.default_rng(1).standard_normal(logits.shape)
    losses = [calibrated_loss(scale * logits, labels) for scale in (0.3, 1.0, 4.0)]
    np.testing.assert_allclose(losses, losses[1], rtol=1e-5)
    assert losses[1] <= metrics.cross_entropy(logits, labels)
    assert metrics.cross_entropy(doubted, labels) < metrics.cross_entropy(0.3 * logits, labels), "which the plain loss prefers"
    assert calibrated_loss(doubted, labels) > losses[0]
    sure = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert 0 <= calibrated_loss(sure, np.array([0, 1])) < 1e-6


def test_confidence_without_rightness_is_the_error():
    logits = np.array([[50.0, 0.0]] * 10)
    assert expected_calibration_error(logits, np.array([0] * 7 + [1] * 3)) == pytest.approx(0.3)
    assert expected_calibration_error(logits, np.zeros(10, int)) == pytest.approx(0.0)
    assert expected_calibration_error(drawn(scale=4.0)[0], drawn(scale=4.0)[1]) > 0.1


def test_most_right_answers_are_given_and_more_of_the_wrong_ones_refused():
    logits, labels = drawn()
    posteriors = np.exp(metrics.log_posteriors(logits))
    is_refused = posteriors.max(1) < none_below(posteriors, labels)
    is_right = posteriors.argmax(1) == labels
    assert 0.04 < is_refused[is_right].mean() <= 0.05 and is_refused[~is_right].mean() > 0.1
    assert none_below(posteriors, np.full(len(labels), -1)) == 0.0
