"""Calibration: whether probabilities match how often they are right, and a temperature that makes them match."""

from __future__ import annotations

import numpy as np

from hpcnas.core.metrics import cross_entropy, log_posteriors

COLDEST, HOTTEST = 0.05, 20.0


def temperature(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """The divisor of logits that makes their cross entropy lowest (Guo et al., ICML 2017, arXiv:1706.04599)."""

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits_NK / np.exp(log_temperature), labels_N)

    inside = (np.sqrt(5) - 1) / 2
    low, high = np.log(COLDEST), np.log(HOTTEST)
    one, other = high - inside * (high - low), low + inside * (high - low)
    of_one, of_other = loss(one), loss(other)
    while high - low > 1e-3:  # golden section: the cross entropy has one minimum
        if of_one < of_other:
            high, other, of_other = other, one, of_one
            one = high - inside * (high - low)
            of_one = loss(one)
        else:
            low, one, of_one = one, other, of_other
            other = low + inside * (high - low)
            of_other = loss(other)
    return float(np.exp((low + high) / 2))


def calibrated_loss(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Cross entropy at the temperature that makes it lowest, in nats: how well classes are told apart, whatever the confidence
    (refinement after temperature scaling; Berta et al., 2025, arXiv:2501.19195)."""
    return cross_entropy(logits_NK / temperature(logits_NK, labels_N), labels_N)


def none_below(posteriors_NK: np.ndarray, labels_N: np.ndarray, refused: float = 0.05) -> float:
    """The probability that all right answers reach but a share ``refused`` of them; 0 if no answer is right."""
    best = posteriors_NK.max(1)[posteriors_NK.argmax(1) == labels_N]
    return float(np.quantile(best, refused, method="lower")) if len(best) else 0.0


def expected_calibration_error(logits_NK: np.ndarray, labels_N: np.ndarray, bins: int = 15) -> float:
    """Mean difference of confidence and accuracy over equal bins of confidence, weighted by examples (Naeini et al., AAAI 2015,
    doi:10.1609/aaai.v29i1.9602), in [0, 1]."""
    posteriors = np.exp(log_posteriors(logits_NK))
    confidence, is_right = posteriors.max(1), posteriors.argmax(1) == labels_N
    of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(of, confidence - is_right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels_N))
