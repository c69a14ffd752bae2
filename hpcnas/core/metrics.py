"""Figures on predictions. ``N`` examples, ``K`` classes."""

from __future__ import annotations

import numpy as np


def accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Share of examples whose highest logit is the label's (top-1), in [0, 1]."""
    return float((logits_NK.argmax(1) == labels_N).mean())


def confusion(logits_NK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """(K, K) counts; row: the true class, column: the predicted one."""
    classes = logits_NK.shape[1]
    return np.bincount(labels_N * classes + logits_NK.argmax(1), minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean recall over the classes that occur in ``labels_N``, in [0, 1]."""
    counts = confusion(logits_NK, labels_N)
    occurring = counts.sum(1) > 0
    return float((counts.diagonal()[occurring] / counts.sum(1)[occurring]).mean())


def cross_entropy(logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean negative log likelihood of the labels, in nats."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels_N)), labels_N]).mean())


def standard_error(share: float, n: int) -> float:
    """Standard error of a share that was observed on ``n`` examples (binomial)."""
    return float(np.sqrt(share * (1 - share) / n))
