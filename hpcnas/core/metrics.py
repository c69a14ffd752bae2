"""Figures on the predictions of a classifier; each raises MetricError for logits that are not finite. ``N`` examples, ``K``
classes."""

from __future__ import annotations

import numpy as np

from hpcnas.core import detection
from hpcnas.core.checks import finite
from hpcnas.core.errors import MetricError


def accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Share of examples whose highest logit is the label's (top-1), in [0, 1]."""
    finite("logits", logits_NK)
    return float((logits_NK.argmax(1) == labels_N).mean())


def confusion(logits_NK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """(K, K) counts; row: the true class, column: the predicted one."""
    finite("logits", logits_NK)
    classes = logits_NK.shape[1]
    return np.bincount(labels_N * classes + logits_NK.argmax(1), minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean recall over the classes that occur in ``labels_N``, in [0, 1]."""
    counts = confusion(logits_NK, labels_N)
    occurring = counts.sum(1) > 0
    return float((counts.diagonal()[occurring] / counts.sum(1)[occurring]).mean())


def macro_f1(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean over the classes that occur, as label or as prediction, of the harmonic mean of precision and recall, in [0, 1]."""
    counts = confusion(logits_NK, labels_N)
    spoken_or_heard = counts.sum(0) + counts.sum(1)
    occurring = spoken_or_heard > 0
    return float((2 * counts.diagonal()[occurring] / spoken_or_heard[occurring]).mean())


def cross_entropy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean negative log likelihood of the labels, in nats."""
    return float(-log_posteriors(logits_NK)[np.arange(len(labels_N)), labels_N].mean())


def log_posteriors(logits_NK: np.ndarray) -> np.ndarray:
    """(N, K) logarithms of the softmax."""
    finite("logits", logits_NK)
    shifted: np.ndarray = logits_NK.astype(np.float64) - logits_NK.max(1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(1, keepdims=True))
    return shifted


def standard_error(share: float, n: int) -> float:
    """Standard error of a share that was observed on ``n`` examples (binomial)."""
    return float(np.sqrt(share * (1 - share) / n))


def eer(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Equal error rate of detecting each class against all others, all decisions pooled, in [0, 1]."""
    scores = detection.log_odds(log_posteriors(logits_NK))
    return detection.equal_error_rate(scores.ravel(), (np.arange(scores.shape[1]) == labels_N[:, None]).ravel())


def miss_rate(logits_NK: np.ndarray, labels_N: np.ndarray, false_alarms: float = 0.01) -> float:
    """Share of the examples that is missed when each class is detected against all others, all decisions pooled, in [0, 1].

    Args:
        false_alarms: what the threshold allows, as a share of the decisions on other classes.
    """
    scores = detection.log_odds(log_posteriors(logits_NK))
    curve = detection.det_curve(scores.ravel(), (np.arange(scores.shape[1]) == labels_N[:, None]).ravel())
    return detection.miss_rate_at(curve, false_alarms)


def roc_area(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean over the classes that occur of the area under the ROC curve of detecting it against all others, in [0, 1].

    Raises:
        MetricError: if fewer than two classes occur.
    """
    scores = detection.log_odds(log_posteriors(logits_NK))
    return float(np.mean([detection.roc_area(scores[:, label], labels_N == label) for label in np.unique(labels_N)]))


def cavg(logits_NK: np.ndarray, labels_N: np.ndarray, p_target: float = 0.5) -> float:
    """Average detection cost of a language recogniser, in [0, 1]: NIST LRE 2015 plan, section 4 (closed set, unit costs).

    Every pair of a target and another language has costs of misses and of false alarms, at the threshold that is optimal for
    calibrated scores. They are averaged over the other languages, then over the targets. Languages that do not occur are left
    out.

    Args:
        p_target: prior of the target. LRE 2007 to 2015 use 0.5; LRE 2017 and 2022 the mean of the costs at 0.5 and 0.1.

    Raises:
        MetricError: if fewer than two languages occur.
    """
    posteriors = log_posteriors(logits_NK)
    languages = np.unique(labels_N)
    if len(languages) < 2:
        raise MetricError("Cavg needs two languages")
    costs = []
    # The log likelihood ratio of a language to the mean of the others decides; flat priors cancel in it.
    ratios = detection.log_odds(posteriors) + np.log(posteriors.shape[1] - 1)
    threshold = np.log((1 - p_target) / p_target)
    for target in languages:
        accepted = ratios[:, target] > threshold
        miss = 1 - accepted[labels_N == target].mean()
        false_alarm = np.mean([accepted[labels_N == other].mean() for other in languages if other != target])
        costs.append(p_target * miss + (1 - p_target) * false_alarm)
    return float(np.mean(costs))


def cllr(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Cost of the log likelihood ratios of each class to the mean of the others, in bits (Brümmer & du Preez, 2006,
    doi:10.1016/j.csl.2005.08.001).

    It is 0 for ratios that are certain and right, 1 for ratios that say nothing, and more for certain and wrong ones. The other
    classes count alike, as in ``cavg``.

    Raises:
        MetricError: if fewer than two classes occur.
    """
    classes = np.unique(labels_N)
    if len(classes) < 2:
        raise MetricError("Cllr needs two classes")
    ratios = detection.log_odds(log_posteriors(logits_NK)) + np.log(logits_NK.shape[1] - 1)
    missed, alarmed = (np.logaddexp(0, sign * ratios) / np.log(2) for sign in (-1, 1))
    costs = []
    for target in classes:
        others = np.mean([alarmed[labels_N == other, target].mean() for other in classes if other != target])
        costs.append((missed[labels_N == target, target].mean() + others) / 2)
    return float(np.mean(costs))


def pairwise_eer(logits_NK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """(K, K) symmetric equal error rates of telling two classes apart by the difference of their logits; NaN on the diagonal
    and where one of the two does not occur."""
    finite("logits", logits_NK)
    classes = logits_NK.shape[1]
    rates = np.full((classes, classes), np.nan)
    for one in range(classes):
        for other in range(one):
            rows = (labels_N == one) | (labels_N == other)
            is_one = labels_N[rows] == one
            if is_one.any() and not is_one.all():
                difference = logits_NK[rows, one] - logits_NK[rows, other]
                rates[one, other] = rates[other, one] = detection.equal_error_rate(difference, is_one)
    return rates


def mean_pairwise_eer(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean over all pairs of classes that occur, in [0, 1].

    Raises:
        MetricError: if fewer than two classes occur.
    """
    rates = pairwise_eer(logits_NK, labels_N)
    if np.isnan(rates).all():
        raise MetricError("pairwise error rates need two classes")
    return float(np.nanmean(rates))


OBJECTIVES = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "cross_entropy": lambda logits, labels: -cross_entropy(logits, labels),
    "eer": lambda logits, labels: 1 - eer(logits, labels),
    "cavg": lambda logits, labels: 1 - cavg(logits, labels),
    "roc_area": roc_area,
    "pairwise_eer": lambda logits, labels: 1 - mean_pairwise_eer(logits, labels),
    "misses": lambda logits, labels: 1 - miss_rate(logits, labels),
}
"""What a search may maximise on the validation split; costs are turned round."""
