import numpy as np

from hpcnas.core import metrics
from hpcnas.core.units import thousands

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [5.0, 0.0, 0.0]])
LABELS = np.array([0, 1, 1, 0])


def test_hand_counted_cases():
    assert metrics.accuracy(LOGITS, LABELS) == 0.75
    assert metrics.confusion(LOGITS, LABELS).tolist() == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert metrics.balanced_accuracy(LOGITS, LABELS) == 0.75


def test_cross_entropy_of_even_odds_is_the_log_of_the_number_of_classes():
    assert np.isclose(metrics.cross_entropy(np.zeros((5, 4)), np.arange(5) % 4), np.log(4))
    assert np.isclose(metrics.cross_entropy(np.array([[1e4, 0.0]]), np.array([1])), 1e4), "no overflow"


def test_the_standard_error_matches_the_known_one_of_real_speech():
    assert round(100 * metrics.standard_error(0.925, 376), 1) == 1.4


def test_counts_are_written_as_people_do():
    assert [thousands(n) for n in (940, 65_180, 1_536_000)] == ["940", "65.2k", "1.5M"]
