"""Weighed by how often each example was drawn, a figure is what it is of the examples drawn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from hpcnas.core import metrics, resampling
from hpcnas.core.errors import MetricError
from hpcnas.core.significance import bootstrap_interval, percentile_interval

FIGURES = {
    "accuracy": (metrics.accuracy, resampling.accuracy),
    "balanced accuracy": (metrics.balanced_accuracy, resampling.balanced_accuracy),
    "macro F1": (metrics.macro_f1, resampling.macro_f1),
    "cross entropy": (metrics.cross_entropy, resampling.cross_entropy),
    "eer": (metrics.eer, resampling.eer),
    "roc area": (metrics.roc_area, resampling.roc_area),
    "cavg": (metrics.cavg, resampling.cavg(0.5)),
    "cavg of rare targets": (partial(metrics.cavg, p_target=0.1), resampling.cavg(0.1)),
    "cllr": (metrics.cllr, resampling.cllr),
}


def predictions(n: int, classes: int, sure: float, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Few decimals: scores that are often equal."""
    rng = np.random.default_rng(n)
    labels = rng.integers(classes, size=n)
    labels[:2] = 0, 1
    logits = rng.standard_normal((n, classes)) + sure * np.eye(classes)[labels]
    return logits.round(decimals).astype(np.float32), labels


def drawn_one_by_one(metric, logits: np.ndarray, labels: np.ndarray, resamples: int) -> list[float]:
    rng, values = np.random.default_rng(0), []
    for _ in range(resamples):
        rows = rng.integers(len(labels), size=len(labels))
        try:
            values.append(metric(logits[rows], labels[rows]))
        except MetricError:
            values.append(np.nan)
    return values


@pytest.mark.parametrize("case", [(300, 7, 2.0, 1), (300, 7, 0.0, 8), (40, 12, 1.0, 0), (900, 3, 6.0, 2), (4, 2, 0.0, 8)])
@pytest.mark.parametrize("name", FIGURES)
def test_weighed_figures_are_those_of_the_examples_that_were_drawn(name, case):
    """Among them draws that lack a class, and in the last case most that have one alone."""
    metric, resampled = FIGURES[name]
    logits, labels = predictions(*case)
    rng = np.random.default_rng(0)
    counts = [np.bincount(rng.integers(len(labels), size=len(labels)), minlength=len(labels)) for _ in range(60)]
    found = resampled(logits, labels)(np.array(counts, float))
    np.testing.assert_allclose(found, drawn_one_by_one(metric, logits, labels, 60), rtol=1e-9, atol=1e-12)


def test_an_interval_does_not_depend_on_how_many_are_weighed_at_once(monkeypatch):
    logits, labels = predictions(200, 5, 1.0, 8)
    whole = bootstrap_interval(resampling.eer, logits, labels, resamples=50)
    assert whole == pytest.approx(percentile_interval(np.array(drawn_one_by_one(metrics.eer, logits, labels, 50))))
    monkeypatch.setattr("hpcnas.core.significance._AT_ONCE", 1400)
    assert bootstrap_interval(resampling.eer, logits, labels, resamples=50) == pytest.approx(whole)


def test_a_figure_of_pairs_needs_two_classes():
    for resampled in (resampling.cavg(0.5), resampling.cllr):
        with pytest.raises(MetricError, match="two classes"):
            resampled(np.zeros((3, 2)), np.array([1, 1, 1]))
