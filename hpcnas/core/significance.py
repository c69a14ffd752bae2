"""How sure a figure is: bootstrap intervals, and a paired test of two models on the same examples."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

from hpcnas.core.errors import MetricError


def bootstrap_interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    logits_NK: np.ndarray,
    labels_N: np.ndarray,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of ``metric(logits, labels)`` over resamples of the examples (Efron & Tibshirani, 1993, chapter 13).

    Examples are resampled one by one: where several are of one speaker, the interval is too narrow. Resamples for which the
    metric is undefined, since they happen to have one class only, are left out.
    """
    rng = np.random.default_rng(seed)
    n = len(labels_N)
    values = []
    for _ in range(resamples):
        rows = rng.integers(n, size=n)
        try:
            values.append(metric(logits_NK[rows], labels_N[rows]))
        except MetricError:
            continue
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def share_interval(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share that was observed ``n`` times: Wilson, 1927 (doi:10.1080/01621459.1927.10502953)."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(is_right_N: np.ndarray, other_is_right_N: np.ndarray) -> float:
    """Two-sided p-value that two models are equally often right, given the same examples: exact binomial test on those that
    only one of them has right (McNemar, 1947, doi:10.1007/BF02295996)."""
    only_one, only_other = int((is_right_N & ~other_is_right_N).sum()), int((~is_right_N & other_is_right_N).sum())
    n = only_one + only_other
    fewer = min(only_one, only_other)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)
