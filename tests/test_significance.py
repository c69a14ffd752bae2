import numpy as np
import pytest

from hpcnas.core.significance import difference_interval, mean_interval, permutation_test, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228), (30, 2.042), (1e6, 1.960)],
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, rel=0.01)
    assert t_quantile(0.5, freedom) == pytest.approx(0, abs=1e-9)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((2000, 9))
    means = [mean_interval(of[:5]) for of in draws]
    differences = [difference_interval(of[:5], 3 * of[5:])[1:] for of in draws]
    for intervals in (means, differences):
        assert 0.93 < np.mean([low <= 0 <= high for low, high in intervals]) < 0.97


def test_what_is_not_known_is_nan():
    assert np.isnan(mean_interval(np.array([1.0]))).all() and np.isnan(difference_interval(np.array([1.0]), np.zeros(3))).all()


def test_permutations_are_counted():
    assert permutation_test(np.array([3, 4, 5]), np.array([0, 1, 2])) == pytest.approx(2 / 20)
    assert permutation_test(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 1
    rng = np.random.default_rng(0)
    assert permutation_test(rng.standard_normal(30), rng.standard_normal(30), resamples=500) > 0.05
    assert permutation_test(rng.standard_normal(30), 3 + rng.standard_normal(30), resamples=500) == pytest.approx(1 / 501)
