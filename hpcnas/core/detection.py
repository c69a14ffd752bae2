"""Detection: a score against a threshold, its misses and its false alarms; scores that are not finite raise MetricError."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.checks import finite
from hpcnas.core.errors import MetricError


@dataclass(frozen=True)
class DetCurve:
    """Errors at every threshold, thresholds ascending. Scores at or above a threshold are accepted; the last one accepts
    none."""

    thresholds: np.ndarray
    misses: np.ndarray
    """Share of the targets that are missed, in [0, 1]; ascending."""
    false_alarms: np.ndarray
    """A rate: per non-target in [0, 1], or per hour; descending."""


def det_curve(scores: np.ndarray, is_target: np.ndarray, negative_hours: float | None = None) -> DetCurve:
    """Miss rate and false alarms at every threshold, for the DET plot (Martin et al., Eurospeech 1997).

    Args:
        scores: (N,) detector outputs; higher means "target" is more likely.
        is_target: (N,) bool.
        negative_hours: length of the audio without target, for false alarms per hour; without it per non-target.

    Raises:
        MetricError: if one of the two classes is empty, since its rate is then undefined.
    """
    finite("scores", scores)
    targets = np.sort(scores[is_target])
    others = np.sort(scores[~is_target])
    if not len(targets) or not len(others):
        raise MetricError("a detection curve needs targets and non-targets")
    thresholds = np.append(np.unique(scores), np.inf)
    misses = np.searchsorted(targets, thresholds, "left") / len(targets)
    accepted = len(others) - np.searchsorted(others, thresholds, "left")
    return DetCurve(thresholds, misses, accepted / (len(others) if negative_hours is None else negative_hours))


def equal_error_rate(scores: np.ndarray, is_target: np.ndarray) -> float:
    """Where miss rate and false alarm rate are equal, between thresholds by linear interpolation, in [0, 1]."""
    curve = det_curve(scores, is_target)
    return crossing(curve.misses, curve.false_alarms)


def crossing(misses_U: np.ndarray, alarms_U: np.ndarray) -> float:
    """Where rates at (U,) ascending thresholds meet, of which misses rise and false alarms fall; by linear interpolation."""
    at = int(np.argmax(misses_U >= alarms_U))
    if at == 0:
        return float(misses_U[0])
    gap = alarms_U - misses_U
    share = gap[at - 1] / (gap[at - 1] - gap[at])
    return float(misses_U[at - 1] + share * (misses_U[at] - misses_U[at - 1]))


def roc_area(scores: np.ndarray, is_target: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a target scores above a non-target, ties counting half (Hanley & McNeil, 1982,
    doi:10.1148/radiology.143.1.7063747)."""
    finite("scores", scores)
    targets, others = scores[is_target], np.sort(scores[~is_target])
    if not len(targets) or not len(others):
        raise MetricError("the area under a ROC curve needs targets and non-targets")
    below = np.searchsorted(others, targets, "left") + np.searchsorted(others, targets, "right")
    return float(below.mean() / 2 / len(others))


def miss_rate_at(curve: DetCurve, false_alarms: float) -> float:
    """Lowest miss rate with at most so many false alarms, in the curve's unit."""
    finite("false alarms", curve.false_alarms)
    return float(curve.misses[curve.false_alarms <= false_alarms].min())


def log_odds(log_posteriors_NK: np.ndarray) -> np.ndarray:
    """(N, K) logarithm of each class's probability over that of all others together."""
    finite("posteriors", log_posteriors_NK)
    p = log_posteriors_NK
    none = np.full((len(p), 1), -np.inf)
    before = np.concatenate([none, np.logaddexp.accumulate(p[:, :-1], axis=1)], 1)
    behind = np.concatenate([np.logaddexp.accumulate(p[:, :0:-1], axis=1)[:, ::-1], none], 1)
    odds: np.ndarray = p - np.logaddexp(before, behind)
    return odds
