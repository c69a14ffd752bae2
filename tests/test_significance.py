import numpy as np
import pytest
import scipy

from hpcnas.core.significance import difference_interval, mcnemar, mean_interval, permutation_test, share_interval


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (8, 2.365), (31, 2.042)])
def test_quantiles_of_the_mean_are_those_of_the_tables(n, quantile):
    values = np.random.default_rng(n).standard_normal(n)
    low, high = mean_interval(values)
    assert (high - low) / 2 == pytest.approx(quantile * values.std(ddof=1) / np.sqrt(n), rel=1e-3)


def test_differences_and_shares_are_those_of_scipy_s_tests():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal(5), 1 + 3 * rng.standard_normal(9)
    expected = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert difference_interval(one, other)[1:] == pytest.approx((expected.low, expected.high))
    for right, n in ((0, 7), (3, 9), (370, 378), (50, 50)):
        assert share_interval(right / n, n) == pytest.approx(
            scipy.stats.binomtest(right, n).proportion_ci(method="wilson"), abs=1e-5
        )


def test_of_the_examples_that_one_alone_has_right_it_is_told_whether_they_are_equally_many():
    for only_one, only_other in ((0, 0), (5, 0), (3, 9), (1400, 1300)):
        ours = np.repeat([True, False, True], [only_one, only_other, 10])
        theirs = np.repeat([False, True, True], [only_one, only_other, 10])
        n = only_one + only_other
        expected = scipy.stats.binomtest(only_one, n).pvalue if n else 1.0
        assert mcnemar(ours, theirs) == pytest.approx(expected)


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
    assert permutation_test(np.array([9]), np.array([0, 1, 2])) == pytest.approx(1 / 4), "one run against three"
    rng = np.random.default_rng(0)
    assert permutation_test(rng.standard_normal(30), rng.standard_normal(30), resamples=500) > 0.05
    assert permutation_test(rng.standard_normal(30), 3 + rng.standard_normal(30), resamples=500) == pytest.approx(1 / 501)
