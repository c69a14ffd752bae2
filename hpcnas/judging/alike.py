"""What a model makes of words that sound like its keywords, and of the keywords by the same synthetic voices: neither says much
without the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcnas.core.significance import percentile_interval, share_interval
from hpcnas.judging.evaluation import Figure
from hpcnas.use.classifier import Classifier
from hpcnas.use.hearing import keywords_of

RESAMPLES = 1000


def figures_of_alike(classifier: Classifier, logits_NK: np.ndarray, labels_N: np.ndarray, words: Sequence[str]) -> list[Figure]:
    """Figures of such words, and of keywords, by recordings' logits.

    Args:
        words: (N,) what is said; recordings of one word are alike, so words are drawn for the intervals.
    """
    keywords, answers = keywords_of(classifier), logits_NK.argmax(1)
    is_keyword, said = np.isin(labels_N, keywords), np.array(words)
    told = [
        ("words that sound alike taken for keywords", ~is_keyword, np.isin(answers, keywords)),
        ("synthesised keywords missed", is_keyword, answers != labels_N),
    ]
    own = classifier.thresholds.keywords if classifier.thresholds else {}
    if own:
        least_K = np.array([own.get(name, np.inf) for name in classifier.class_names])
        is_told = classifier.posteriors(logits_NK) >= least_K
        told += [
            ("words that sound alike at the thresholds", ~is_keyword, is_told.any(1)),
            ("synthesised keywords missed at the thresholds", is_keyword, ~is_told[np.arange(len(said)), labels_N]),
        ]
    return [Figure(name, float(is_so[those].mean()), interval(is_so[those], said[those])) for name, those, is_so in told]


def interval(is_so_N: np.ndarray, words_N: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share: of bootstrap over words, or Wilson's over recordings, whichever is wider."""
    names, of_word = np.unique(words_N, return_inverse=True)
    counts, sums = np.bincount(of_word), np.bincount(of_word, is_so_N)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = percentile_interval(sums[drawn].sum(1) / counts[drawn].sum(1))
    least, most = share_interval(float(is_so_N.mean()), len(is_so_N))
    return min(low, least), max(high, most)
