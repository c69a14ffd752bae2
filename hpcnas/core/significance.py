"""How sure a figure is: bootstrap intervals, and a paired test of two models on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb, sqrt

import numpy as np
import scipy  # its parts are loaded where they are first used, which most programs never do

from hpcnas.core.errors import MetricError
from hpcnas.core.resampling import Resampled

_AT_ONCE = 2**23
"""Examples times resamples that are weighed at once: 64 MB."""


def bootstrap_interval(
    figure: Resampled,
    logits_NK: np.ndarray,
    labels_N: np.ndarray,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a figure over resamples of the examples (Efron & Tibshirani, 1993, chapter 13).

    Examples are resampled one by one, so the interval is too narrow if several are of one speaker. Resamples that happen to
    have one class only, for which the figure is undefined, are left out.

    Raises:
        MetricError: if it is undefined for all of them.
    """
    rng = np.random.default_rng(seed)
    n, weighed = len(labels_N), figure(logits_NK, labels_N)
    found: list[np.ndarray] = []
    size = max(1, _AT_ONCE // n)
    for start in range(0, resamples, size):
        counts = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(min(size, resamples - start))]
        found.append(weighed(np.array(counts, float)))
    values = np.concatenate(found)
    if np.isnan(values).all():
        raise MetricError(f"undefined in all {resamples} resamples of {n} examples")
    return percentile_interval(values[~np.isnan(values)], level)


def share_interval(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share that was observed ``n`` times: Wilson, 1927 (doi:10.1080/01621459.1927.10502953)."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of how many events are to be expected where ``count`` were seen (Garwood, 1936,
    doi:10.1093/biomet/28.3-4.437)."""
    tail = (1 - level) / 2
    low = scipy.special.gammaincinv(count, tail) if count else 0.0
    return float(low), float(scipy.special.gammaincinv(count + 1, 1 - tail))


def resampled_means(matrices: Sequence[np.ndarray], resamples: int = 1000, seed: int = 0) -> list[np.ndarray]:
    """The mean of each (S, N) matrix in every resample; a row is a training, a column an example.

    Trainings and examples are drawn anew, independently of each other (Owen, 2007, the pigeonhole bootstrap,
    doi:10.1214/07-AOAS122). All matrices have the same examples, and these are drawn once for all matrices, so that differences
    of the returned means are paired. Trainings are drawn for each matrix on its own.
    """
    rng = np.random.default_rng(seed)
    n = matrices[0].shape[1]
    values = [matrix.astype(np.float32) for matrix in matrices]
    means = np.empty((len(matrices), resamples))
    for draw in range(resamples):
        counts = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float32)
        for place, matrix in enumerate(values):
            trainings = rng.integers(len(matrix), size=len(matrix))
            means[place, draw] = (matrix @ counts)[trainings].mean() / n
    return list(means)


def percentile_interval(draws_R: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The middle share ``level`` of resampled figures."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(draws_R, [tail, 100 - tail])
    return float(low), float(high)


def mcnemar(is_right_N: np.ndarray, other_is_right_N: np.ndarray) -> float:
    """Two-sided p-value that two models are equally often right, given the same examples: exact binomial test on those that
    only one of them has right (McNemar, 1947, doi:10.1007/BF02295996)."""
    only_one, only_other = int((is_right_N & ~other_is_right_N).sum()), int((~is_right_N & other_is_right_N).sum())
    p = 2 * float(scipy.special.bdtr(min(only_one, only_other), only_one + only_other, 0.5))
    return min(1.0, p)


def mean_interval(values_N: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean; NaN for fewer than two values."""
    n = len(values_N)
    if n < 2:
        return float("nan"), float("nan")
    half = float(scipy.special.stdtrit(n - 1, 0.5 + level / 2)) * float(np.std(values_N, ddof=1)) / sqrt(n)
    return float(np.mean(values_N)) - half, float(np.mean(values_N)) + half


def difference_interval(values_N: np.ndarray, others_M: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of ``values`` minus that of ``others``, with its interval by Welch, 1947
    (doi:10.1093/biomet/34.1-2.28); NaN for fewer than two values on a side."""
    n, m = len(values_N), len(others_M)
    if min(n, m) < 2:
        return float("nan"), float("nan"), float("nan")
    difference = float(np.mean(values_N) - np.mean(others_M))
    a, b = float(np.var(values_N, ddof=1)) / n, float(np.var(others_M, ddof=1)) / m
    if a + b == 0:
        return difference, difference, difference
    freedom = (a + b) ** 2 / (a * a / (n - 1) + b * b / (m - 1))
    half = float(scipy.special.stdtrit(freedom, 0.5 + level / 2)) * sqrt(a + b)
    return difference, difference - half, difference + half


def permutation_test(values_N: np.ndarray, others_M: np.ndarray, resamples: int = 20_000, seed: int = 0) -> float:
    """Two-sided p-value that both come from one distribution, by the difference of their means (Fisher, 1935).

    It runs over all divisions into groups of these sizes, or over ``resamples`` random ones if there are more. A group of one
    will do, which scipy's refuses."""
    n, pooled = len(values_N), np.concatenate([values_N, others_M]).astype(float)
    seen = abs(np.mean(values_N) - np.mean(others_M)) - 1e-12
    divisions: Sequence[list[int] | np.ndarray]
    if comb(len(pooled), n) <= resamples:
        divisions = [list(chosen) for chosen in combinations(range(len(pooled)), n)]
        surely = 0
    else:
        rng = np.random.default_rng(seed)
        divisions = [rng.permutation(len(pooled))[:n] for _ in range(resamples)]
        surely = 1  # the division that was seen is one of them
    sums = np.array([pooled[chosen].sum() for chosen in divisions])
    differences = np.abs(sums / n - (pooled.sum() - sums) / len(others_M))
    return float((surely + (differences >= seen).sum()) / (surely + len(divisions)))
