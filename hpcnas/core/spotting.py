"""Keywords in long audio: scores over time to detections, and how many of them are wrong.

Smoothing and refractory time after Alvarez & Park, ICASSP 2019 (arXiv:1812.02802), and Chen, Parada & Heigold, ICASSP 2014
(doi:10.1109/ICASSP.2014.6854370). Shape letters: ``S`` scores over time, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.checks import at_least, finite
from hpcnas.core.detection import DetCurve
from hpcnas.core.errors import MetricError


@dataclass(frozen=True, kw_only=True)
class SpottingConfig:
    """How a stream of scores becomes detections."""

    hop_s: float = 0.1
    """Between two positions of the window."""
    smoothing_s: float = 0.3
    """Posteriors are averaged over so long a stretch."""
    refractory_s: float = 0.75
    """After a detection of a keyword there is no other one of it for so long."""
    tolerance_s: float = 0.5
    """A detection counts if it lies that near to where the keyword is."""

    def __post_init__(self) -> None:
        at_least(0.01, "spotting", hop_s=self.hop_s)
        at_least(0, "spotting", smoothing_s=self.smoothing_s, refractory_s=self.refractory_s, tolerance_s=self.tolerance_s)


@dataclass(frozen=True)
class Spoken:
    """A keyword that really is in the audio."""

    keyword: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Detection:
    """A keyword that the model heard."""

    keyword: int
    time_s: float
    """Middle of the window."""
    score: float


def smoothed(posteriors_SK: np.ndarray, config: SpottingConfig) -> np.ndarray:
    """(S, K) mean over the last ``smoothing_s``."""
    width = max(1, round(config.smoothing_s / config.hop_s))
    total = np.cumsum(np.pad(posteriors_SK, ((width, 0), (0, 0))), axis=0)
    seen = np.minimum(np.arange(1, len(posteriors_SK) + 1), width)
    return (total[width:] - total[:-width]) / seen[:, None]


def detections(scores_SK: np.ndarray, times_s: np.ndarray, keywords: Sequence[int], config: SpottingConfig) -> list[Detection]:
    """Peaks of each keyword's score, the highest first chosen, none nearer to another one than the refractory time; in order of
    time, whatever their score; raises MetricError for scores that are not finite."""
    finite("scores", scores_SK)
    found = []
    for keyword in keywords:
        scores = scores_SK[:, keyword]
        free = np.ones(len(scores), bool)
        for at in np.argsort(-scores, kind="stable"):
            if free[at]:
                found.append(Detection(keyword, float(times_s[at]), float(scores[at])))
                free &= np.abs(times_s - times_s[at]) >= max(config.refractory_s, config.hop_s)
    return sorted(found, key=lambda one: (one.time_s, one.keyword))


def spotting_curve(found: Sequence[Detection], spoken: Sequence[Spoken], hours: float, config: SpottingConfig) -> DetCurve:
    """Miss rate and false alarms per hour at every threshold, keywords pooled.

    The best detection near a spoken keyword makes it a hit, further ones of the same keyword there are ignored; every other
    detection is a false alarm.

    Args:
        hours: length of the audio without the spoken keywords.

    Raises:
        MetricError: if nothing was spoken, or no audio is left.
    """
    if not spoken or hours <= 0:
        raise MetricError("a spotting curve needs spoken keywords, and audio without them")
    best = np.full(len(spoken), -np.inf)
    starts = np.array([one.start_s for one in spoken]) - config.tolerance_s
    ends = np.array([one.end_s for one in spoken]) + config.tolerance_s
    keywords = np.array([one.keyword for one in spoken])
    false_alarms = []
    for one in found:
        near = (keywords == one.keyword) & (starts <= one.time_s) & (one.time_s <= ends)
        if near.any():
            best[near] = np.maximum(best[near], one.score)
        else:
            false_alarms.append(one.score)
    alarms = np.sort(false_alarms)
    thresholds = np.append(np.unique([*best[np.isfinite(best)], *false_alarms]), np.inf)
    misses = np.searchsorted(np.sort(best), thresholds, "left") / len(best)
    return DetCurve(thresholds, misses, (len(alarms) - np.searchsorted(alarms, thresholds, "left")) / hours)
