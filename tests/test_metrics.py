import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcnas.core import detection, metrics
from hpcnas.core.errors import MetricError
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


def test_macro_f1_by_hand():
    # class 0: 2 right of 2 said, 2 there; class 1: 1 of 1 said, 2 there; class 2: said once, wrongly
    assert np.isclose(metrics.macro_f1(LOGITS, LABELS), (1 + 2 / 3 + 0) / 3)


RNG = np.random.default_rng(0)
NOISY = RNG.standard_normal((300, 4)) + 2 * np.eye(4)[np.arange(300) % 4]
CLASSES = np.arange(300) % 4


@pytest.mark.parametrize("name", metrics.OBJECTIVES)
def test_every_objective_is_highest_for_perfect_scores_and_prefers_good_ones(name):
    objective = metrics.OBJECTIVES[name]
    perfect, guesses = objective(100 * np.eye(4)[CLASSES], CLASSES), objective(RNG.standard_normal((300, 4)), CLASSES)
    assert perfect == pytest.approx(0 if name == "cross_entropy" else 1, abs=1e-6)
    assert perfect > objective(NOISY, CLASSES) > guesses


def test_cavg_by_hand():
    # Two languages: the one with the higher posterior is accepted. One of two misses, and is the other's false alarm.
    logits, labels = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 0, 1, 1])
    assert metrics.cavg(logits, labels) == pytest.approx((0.5 * 0.5 + 0.5 * 0.0 + 0.5 * 0.0 + 0.5 * 0.5) / 2)
    # A high prior of non-targets makes it accept sure ones only: everything is missed, nothing falsely accepted.
    assert metrics.cavg(logits, labels, p_target=0.1) == pytest.approx(0.1)
    with pytest.raises(MetricError, match="two languages"):
        metrics.cavg(np.zeros((3, 2)), np.zeros(3, int))


def test_the_miss_rate_by_hand():
    # Four targets and eight chances of a false alarm; by odds: three targets, the wrong first class of row 2, its target.
    assert metrics.miss_rate(LOGITS, LABELS, 0.0) == 0.5 and metrics.miss_rate(LOGITS, LABELS, 1.0) == 0.0


def test_the_area_is_the_mean_over_the_classes():
    areas = [detection.roc_area(metrics.log_posteriors(NOISY)[:, c], c == CLASSES) for c in range(4)]
    assert metrics.roc_area(NOISY, CLASSES) == pytest.approx(np.mean(areas), abs=1e-9), "odds and posteriors rank alike"
    with pytest.raises(MetricError):
        metrics.roc_area(NOISY, np.zeros(300, int))


def test_pairwise_eer_compares_two_classes_at_a_time():
    rates = metrics.pairwise_eer(NOISY, CLASSES)
    assert np.isnan(rates.diagonal()).all() and np.allclose(rates, rates.T, equal_nan=True)
    rows = CLASSES < 2
    expected = detection.equal_error_rate(NOISY[rows, 1] - NOISY[rows, 0], CLASSES[rows] == 1)
    assert rates[0, 1] == expected and 0 < expected < 0.3
    assert np.isnan(metrics.pairwise_eer(NOISY, np.zeros(300, int))).all()


OTHER_FIGURES = {
    "confusion": metrics.confusion,
    "log_posteriors": lambda logits, labels: metrics.log_posteriors(logits),
    "pairwise": metrics.pairwise_eer,
    "detection curve": lambda logits, labels: detection.det_curve(logits[:, 0], labels == 0),
    "log odds": lambda logits, labels: detection.log_odds(logits),
    "equal error rate": lambda logits, labels: detection.equal_error_rate(logits[:, 0], labels == 0),
    "area": lambda logits, labels: detection.roc_area(logits[:, 0], labels == 0),
}
NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("figure", [*metrics.OBJECTIVES, *OTHER_FIGURES])
@given(places=st.sets(st.integers(0, 299), min_size=1), value=NOT_FINITE, first=st.booleans())
def test_no_figure_is_made_of_logits_that_are_not_finite(figure, places, value, first):
    logits = NOISY.copy()
    logits[sorted(places), 0 if first or figure in OTHER_FIGURES else 3] = value
    with pytest.raises(MetricError, match=f"not finite in {len(places)} of 300 examples"):
        {**metrics.OBJECTIVES, **OTHER_FIGURES}[figure](logits, CLASSES)


@pytest.mark.parametrize("name", metrics.OBJECTIVES)
@given(scale=st.sampled_from([1e-30, 1.0, 1e4, 1e30, 3e37]))
def test_every_objective_of_finite_logits_is_finite_however_large_they_are(name, scale):
    assert np.isfinite(metrics.OBJECTIVES[name]((scale * NOISY).astype(np.float32), CLASSES))


def test_pairs_of_classes_need_two():
    with pytest.raises(MetricError, match="need two classes"):
        metrics.OBJECTIVES["pairwise_eer"](NOISY, np.zeros(300, int))


def test_cllr_is_one_of_no_information_nothing_of_sure_and_right_and_more_of_sure_and_wrong():
    labels = np.arange(30) % 3
    right = 50.0 * np.eye(3)[labels]
    assert metrics.cllr(np.zeros((30, 3)), labels) == pytest.approx(1.0)
    assert metrics.cllr(right, labels) == pytest.approx(0.0, abs=1e-9) and metrics.cllr(-right, labels) > 10
    with pytest.raises(MetricError, match="Cllr needs two classes"):
        metrics.cllr(right[:1], labels[:1])
