"""Keywords in long audio: from scores over time to detections, and how many of these are wrong.

Smoothing and refractory time after Alvarez & Park, ICASSP 2019 (arXiv:1812.02802), and Chen, Parada & Heigold, ICASSP 2014
(doi:10.1109/ICASSP.2014.6854370). Shape letters: ``S`` scores over time, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.checks import at_least, finite
from hpcnas.core.false_alarms import Alarms, Heard

Threshold = float | Mapping[int, float]
"""One for all keywords, or one for each."""


@dataclass(frozen=True, kw_only=True)
class SpottingConfig:
    """How a stream of scores becomes detections."""

    hop_s: float = 0.1
    """Between two positions of the window."""
    smoothing_s: float = 0.3
    """Posteriors are averaged over so long a stretch."""
    refractory_s: float = 0.75
    """A keyword is not detected again for so long after a detection."""
    tolerance_s: float = 0.5
    """A detection counts if it lies that near to where the keyword is."""
    false_alarms_per_hour: float = 1.0
    """Of all keywords together: thresholds are chosen for so many (``hpcnas.evaluate``)."""

    def __post_init__(self) -> None:
        at_least(0.01, "spotting", hop_s=self.hop_s)
        at_least(0, "spotting", smoothing_s=self.smoothing_s, refractory_s=self.refractory_s, tolerance_s=self.tolerance_s)
        at_least(0.001, "spotting", false_alarms_per_hour=self.false_alarms_per_hour)


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


class Smoother:
    """``smoothed``, piece by piece."""

    def __init__(self, config: SpottingConfig) -> None:
        self._width, self._seen = max(1, round(config.smoothing_s / config.hop_s)), 0
        self._last: np.ndarray | None = None

    def push(self, posteriors_SK: np.ndarray) -> np.ndarray:
        """(S, K) smoothed scores of the next posteriors (S, K)."""
        if self._last is None:
            self._last = np.zeros((self._width - 1, posteriors_SK.shape[1]))
        known = np.concatenate([self._last, posteriors_SK])
        # Each sum by itself: a running one would depend on where pieces begin, and lose digits over a day.
        total = np.lib.stride_tricks.sliding_window_view(known, self._width, axis=0).sum(-1)
        counts = np.minimum(self._seen + np.arange(1, len(posteriors_SK) + 1), self._width)
        self._seen, self._last = self._seen + len(posteriors_SK), known[len(known) - (self._width - 1) :]
        mean: np.ndarray = total / counts[:, None]
        return mean


def smoothed(posteriors_SK: np.ndarray, config: SpottingConfig) -> np.ndarray:
    """(S, K) mean over the last ``smoothing_s``."""
    return Smoother(config).push(posteriors_SK)


class Spotter:
    """``detections``, piece by piece. A detection is given as soon as no later score can change it or come before it.

    A peak is certain once everything within its refractory time has been heard and no undecided score there is higher. The
    scores near it are then dropped. So a few seconds are kept in memory, unless a score keeps rising.

    Args:
        threshold: scores below it, or below that of their keyword, are left out. They could not keep a higher one from being
            a peak.
    """

    def __init__(self, keywords: Sequence[int], config: SpottingConfig, threshold: Threshold = -np.inf) -> None:
        self._apart_s = max(config.refractory_s, config.hop_s)
        self._least = {k: threshold[k] if isinstance(threshold, Mapping) else threshold for k in keywords}
        self._undecided = {keyword: (np.zeros(0), np.zeros(0)) for keyword in keywords}
        """Times and scores, in the order of time."""
        self._peaks: list[Detection] = []
        """Not told yet, since something before them is undecided."""

    def push(self, scores_SK: np.ndarray, times_s: np.ndarray) -> list[Detection]:
        """Detections that the next scores (S, K), at times (S,), make certain; in order of time over all calls.

        Raises:
            MetricError: for scores that are not finite, which would be below any threshold.
        """
        finite("scores", scores_SK)
        told = []
        for start in range(0, len(times_s), _AT_ONCE):
            new = slice(start, start + _AT_ONCE)
            for keyword, (times, scores) in self._undecided.items():
                audible = scores_SK[new, keyword] >= self._least[keyword]
                times = np.concatenate([times, times_s[new][audible]])
                self._undecided[keyword] = times, np.concatenate([scores, scores_SK[new, keyword][audible]])
            told += self._settled(times_s[new][-1])
        return told

    def finish(self) -> list[Detection]:
        """The remaining ones, when nothing is to come any more."""
        return self._settled(np.inf)

    def _settled(self, heard_s: float) -> list[Detection]:
        """Decide what can be decided when all until ``heard_s`` is known."""
        for keyword, (times, scores) in self._undecided.items():
            while len(times):
                peaks = ~_beaten(times, scores, self._apart_s) & (times + self._apart_s <= heard_s)
                if not peaks.any():
                    break
                self._peaks += [Detection(keyword, float(t), float(s)) for t, s in zip(times[peaks], scores[peaks])]
                apart = np.abs(times[:, None] - times[None, peaks]).min(1) >= self._apart_s
                times, scores = times[apart], scores[apart]
            self._undecided[keyword] = times, scores
        self._peaks.sort(key=lambda one: (one.time_s, one.keyword))
        first = min((times[0] for times, _ in self._undecided.values() if len(times)), default=np.inf)
        ready = sum(one.time_s < first for one in self._peaks)
        told, self._peaks = self._peaks[:ready], self._peaks[ready:]
        return told


_AT_ONCE = 256
"""Positions between two decisions."""


def _beaten(times_s: np.ndarray, scores: np.ndarray, apart_s: float) -> np.ndarray:
    """(S,) which scores have a higher one, or an equal one before them, nearer than ``apart_s``."""
    beaten = np.zeros(len(times_s), bool)
    for step in range(1, len(times_s)):
        near = times_s[step:] - times_s[:-step] < apart_s
        if not near.any():
            break
        rises = scores[step:] > scores[:-step]
        beaten[:-step] |= near & rises
        beaten[step:] |= near & ~rises
    return beaten


def detections(scores_SK: np.ndarray, times_s: np.ndarray, keywords: Sequence[int], config: SpottingConfig) -> list[Detection]:
    """Peaks of each keyword's score, in order of time. Higher peaks are chosen first, and no two of a keyword are nearer than
    the refractory time. Raises MetricError for scores that are not finite."""
    spotter = Spotter(keywords, config)
    return [*spotter.push(scores_SK, times_s), *spotter.finish()]


def heard(found: Sequence[Detection], spoken: Sequence[Spoken], hours: float, config: SpottingConfig) -> Heard:
    """Detections compared with what was spoken.

    The best detection near a spoken keyword makes it a hit. Further detections of the same keyword there are ignored. Every
    other detection is a false alarm.

    Args:
        hours: length of the audio without the spoken keywords.
    """
    hits = np.full(len(spoken), -np.inf)
    starts = np.array([one.start_s for one in spoken]) - config.tolerance_s
    ends = np.array([one.end_s for one in spoken]) + config.tolerance_s
    keywords = np.array([one.keyword for one in spoken], int)
    alarms = []
    for one in found:
        near = (keywords == one.keyword) & (starts <= one.time_s) & (one.time_s <= ends)
        if near.any():
            hits[near] = np.maximum(hits[near], one.score)
        else:
            alarms.append(one)
    return Heard(keywords, hits, Alarms.of(alarms, hours))
