"""Figures of many resamples of the examples at once, for bootstrap intervals.

A resample is how often it has each example. What a figure needs of single examples is computed once, and weighed by these
counts; the values are those that ``metrics`` has of the resampled examples themselves. Shape letters: ``R`` resamples, ``N``
examples, ``K`` classes, ``L`` classes that occur, ``U`` thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcnas.core import detection, metrics
from hpcnas.core.errors import MetricError

Weighed = Callable[[np.ndarray], np.ndarray]
"""From (R, N) counts to the R values of a figure; NaN where it is undefined."""
Resampled = Callable[[np.ndarray, np.ndarray], Weighed]
"""From (N, K) logits and (N,) labels."""


def accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    return _mean((logits_NK.argmax(1) == labels_N).astype(float))


def cross_entropy(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    return _mean(-metrics.log_posteriors(logits_NK)[np.arange(len(labels_N)), labels_N])


def balanced_accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    def values(counts_RN: np.ndarray) -> np.ndarray:
        confusions = _confusions(logits_NK, labels_N, counts_RN)
        return _mean_of_ratios(confusions.diagonal(0, 1, 2), confusions.sum(2))

    return values


def macro_f1(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    def values(counts_RN: np.ndarray) -> np.ndarray:
        confusions = _confusions(logits_NK, labels_N, counts_RN)
        return _mean_of_ratios(2 * confusions.diagonal(0, 1, 2), confusions.sum(1) + confusions.sum(2))

    return values


def roc_area(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    scores = detection.log_odds(metrics.log_posteriors(logits_NK))
    classes = [_ranked(scores[:, label], labels_N == label) for label in np.unique(labels_N)]

    def values(counts_RN: np.ndarray) -> np.ndarray:
        areas, known = np.zeros(len(counts_RN)), np.zeros(len(counts_RN))
        for area in classes:
            found = area(counts_RN)
            areas += np.nan_to_num(found)
            known += ~np.isnan(found)
        return _ratio(areas, known)

    return values


def eer(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    return _Crossings(detection.log_odds(metrics.log_posteriors(logits_NK)), labels_N)


def cavg(p_target: float) -> Resampled:
    def prepared(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
        ratios = _likelihood_ratios(logits_NK)
        accepted = (ratios > np.log((1 - p_target) / p_target)).astype(float)
        return _pairwise_cost(p_target * (1 - accepted), (1 - p_target) * accepted, labels_N)

    return prepared


def cllr(logits_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    missed, alarmed = (np.logaddexp(0, sign * _likelihood_ratios(logits_NK)) / np.log(2) / 2 for sign in (-1, 1))
    return _pairwise_cost(missed, alarmed, labels_N)


def _mean(of_examples_N: np.ndarray) -> Weighed:
    return lambda counts_RN: counts_RN @ of_examples_N / counts_RN.sum(1)


def _confusions(logits_NK: np.ndarray, labels_N: np.ndarray, counts_RN: np.ndarray) -> np.ndarray:
    """(R, K, K)."""
    classes = logits_NK.shape[1]
    cells = labels_N * classes + logits_NK.argmax(1)
    flat = [np.bincount(cells, weights=counts, minlength=classes**2) for counts in counts_RN]
    return np.stack(flat).reshape(-1, classes, classes)


def _mean_of_ratios(parts_RK: np.ndarray, wholes_RK: np.ndarray) -> np.ndarray:
    """(R,) means over the classes whose whole is not nothing."""
    return _ratio(np.divide(parts_RK, wholes_RK, np.zeros(wholes_RK.shape), where=wholes_RK > 0).sum(1), (wholes_RK > 0).sum(1))


def _ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    ratios: np.ndarray = np.divide(parts, wholes, np.full(np.shape(parts), np.nan), where=wholes > 0)
    return ratios


def _ranked(scores_N: np.ndarray, is_target_N: np.ndarray) -> Weighed:
    """The area under one class's ROC curve."""
    levels, of_targets = np.unique(scores_N[is_target_N], return_inverse=True)
    # Where each other example lies: 2u below level u of the targets and above the one before, 2u + 1 at it.
    bins = np.searchsorted(levels, scores_N, "left") + np.searchsorted(levels, scores_N, "right")
    bins[is_target_N] = 2 * len(levels) + 1

    def values(counts_RN: np.ndarray) -> np.ndarray:
        areas, pairs = np.empty(len(counts_RN)), np.empty(len(counts_RN))
        for row, counts in enumerate(counts_RN):
            heard = np.bincount(of_targets, weights=counts[is_target_N], minlength=len(levels))
            up_to = np.bincount(bins, weights=counts)[: 2 * len(levels) + 1].cumsum()
            areas[row] = heard @ (up_to[:-1:2] + up_to[1::2]) / 2
            pairs[row] = heard.sum() * up_to[-1]
        return _ratio(areas, pairs)

    return values


def _likelihood_ratios(logits_NK: np.ndarray) -> np.ndarray:
    """(N, K) logarithms of each class's likelihood over the mean of the others'."""
    ratios: np.ndarray = detection.log_odds(metrics.log_posteriors(logits_NK)) + np.log(logits_NK.shape[1] - 1)
    return ratios


def _pairwise_cost(missed_NK: np.ndarray, alarmed_NK: np.ndarray, labels_N: np.ndarray) -> Weighed:
    """Mean over targets of the cost of missing them and, mean over the others, of taking those for them."""
    classes = np.unique(labels_N)
    if len(classes) < 2:
        raise MetricError("costs of pairs need two classes")
    rows = [np.flatnonzero(labels_N == label) for label in classes]
    missed = [missed_NK[of, label] for of, label in zip(rows, classes)]
    alarmed = [alarmed_NK[np.ix_(of, classes)] for of in rows]

    def values(counts_RN: np.ndarray) -> np.ndarray:
        by_class = [counts_RN[:, of] for of in rows]
        heard_RL = np.stack([counts.sum(1) for counts in by_class], 1)
        occurs = heard_RL > 0
        of_missed = _filled(np.stack([c @ one for c, one in zip(by_class, missed)], 1), heard_RL)
        of_alarmed = _filled(np.stack([c @ one for c, one in zip(by_class, alarmed)], 1), heard_RL[..., None])
        of_alarmed[:, range(len(classes)), range(len(classes))] = 0
        others = _ratio(of_alarmed.sum(1), np.broadcast_to(occurs.sum(1, keepdims=True) - 1, occurs.shape))
        costs = np.where(occurs, of_missed + others, 0).sum(1)
        return np.where(occurs.sum(1) > 1, costs / np.maximum(1, occurs.sum(1)), np.nan)

    return values


def _filled(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Means, 0 where there is nothing to take one of."""
    means: np.ndarray = np.nan_to_num(_ratio(parts, np.broadcast_to(wholes, parts.shape)))
    return means


class _Crossings:
    """Where miss rate and false alarm rate meet, all decisions pooled: ``detection.equal_error_rate`` of each resample.

    Few thresholds come into question. The rates at the first of them are sums over examples, and only the decisions that lie
    between them are gone through for each resample.
    """

    def __init__(self, scores_NK: np.ndarray, labels_N: np.ndarray) -> None:
        self._scores, self._own = scores_NK, scores_NK[np.arange(len(labels_N)), labels_N]
        order = scores_NK.argsort(axis=None, kind="stable")
        self._examples = order // scores_NK.shape[1]
        self._is_own = order % scores_NK.shape[1] == labels_N[self._examples]
        ranked = scores_NK.ravel()[order]
        self._starts = np.flatnonzero(np.append(True, ranked[1:] > ranked[:-1]))  # of each threshold's decisions
        self._levels = np.append(ranked[self._starts], np.inf)

    def __call__(self, counts_RN: np.ndarray) -> np.ndarray:
        first, last = self._window(counts_RN)
        missed, accepted = self._at(first, counts_RN)
        spoken = counts_RN.sum(1)
        others = spoken * (self._scores.shape[1] - 1)
        starts = self._starts[first:last]
        within = slice(starts[0], self._starts[last] if last < len(self._starts) else None)
        examples, is_own, starts = self._examples[within], self._is_own[within], starts - starts[0]
        values = np.empty(len(counts_RN))
        for row, counts in enumerate(counts_RN):
            weights = counts[examples]
            own = np.add.reduceat(weights * is_own, starts).cumsum()
            every = np.add.reduceat(weights, starts).cumsum()
            misses = np.append(missed[row], missed[row] + own) / spoken[row]
            alarms = np.append(accepted[row], accepted[row] - (every - own)) / others[row]
            values[row] = detection.crossing(misses, alarms)
        return values

    def _at(self, threshold: int, counts_RN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R,) own classes missed and other classes accepted at a threshold."""
        level = self._levels[threshold]
        accepted = (self._scores >= level).sum(1) - (self._own >= level)
        return counts_RN @ (self._own < level).astype(float), counts_RN @ accepted.astype(float)

    def _gap(self, threshold: int, counts_RN: np.ndarray) -> np.ndarray:
        missed, accepted = self._at(threshold, counts_RN)
        gap: np.ndarray = accepted / (self._scores.shape[1] - 1) - missed
        return gap

    def _window(self, counts_RN: np.ndarray) -> tuple[int, int]:
        """Thresholds between which the rates of all resamples meet."""
        once, last = np.ones((1, self._own.size)), len(self._starts)
        low, high = 0, last
        while high - low > 1:  # where they meet in the examples themselves
            middle = (low + high) // 2
            low, high = (middle, high) if self._gap(middle, once)[0] > 0 else (low, middle)
        centre, reach = high, 64 + last // 256
        while True:
            low, high = max(0, centre - reach), min(last, centre + reach)
            is_below = low == 0 or (self._gap(low, counts_RN) > 0).all()
            if is_below and (high == last or (self._gap(high, counts_RN) <= 0).all()):
                return low, high
            reach *= 4
