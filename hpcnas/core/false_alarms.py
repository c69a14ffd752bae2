"""Misses at a rate of false alarms an hour, with intervals.

False alarms are rare, so the hours of audio without keywords limit what can be measured. If fewer than ``LEAST_ALARMS`` are
expected at a rate, one alarm more or less changes the result, and no figure is given. Shape letters: ``N`` spoken keywords,
``A`` false alarms, ``R`` rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hpcnas.core.detection import DetCurve
from hpcnas.core.errors import MetricError
from hpcnas.core.significance import percentile_interval, poisson_interval, share_interval

LEAST_ALARMS = 3.0
"""So many false alarms must be expected at a rate before misses are given for it."""
LOWEST = 0.01
"""No threshold lies below this score, so alarms and hits below it are not kept."""
RESAMPLES = 400


class Scored(Protocol):
    """What is known of a detection here."""

    @property
    def keyword(self) -> int: ...

    @property
    def score(self) -> float: ...


@dataclass(frozen=True, eq=False)
class Alarms:
    """False alarms in audio without keywords.

    Args:
        keywords: (A,) which each was taken for.
        scores: (A,).
        hours: of that audio.
    """

    keywords: np.ndarray
    scores: np.ndarray
    hours: float

    @classmethod
    def of(cls, found: Iterable[Scored], hours: float) -> Alarms:
        pairs = [(one.keyword, one.score) for one in found]
        return cls(np.array([k for k, _ in pairs], int), np.array([s for _, s in pairs], float), hours)

    @classmethod
    def joined(cls, several: Iterable[Alarms]) -> Alarms:
        """Of all this audio together."""
        parts = [*several, cls(np.zeros(0, int), np.zeros(0), 0.0)]
        keywords, scores = (np.concatenate([getattr(one, name) for one in parts]) for name in ("keywords", "scores"))
        return cls(keywords, scores, sum(one.hours for one in parts))

    def of_keyword(self, keyword: int) -> Alarms:
        there = self.keywords == keyword
        return Alarms(self.keywords[there], self.scores[there], self.hours)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def supports(hours: float, rate: float) -> bool:
    """Whether so many hours without keywords are enough to measure misses at ``rate`` false alarms an hour."""
    return hours * rate >= LEAST_ALARMS - 1e-6  # hours are sums of many recordings


def hours_needed(rate: float) -> float:
    """Without keywords, for the misses at ``rate`` false alarms an hour."""
    return LEAST_ALARMS / rate


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model heard of keywords that were spoken, and where there were none.

    Args:
        spoken: (N,) keywords.
        hits: (N,) the best score near each; -inf where it was not heard at all.
        alarms: false alarms.
    """

    spoken: np.ndarray
    hits: np.ndarray
    alarms: Alarms

    def of_keyword(self, keyword: int) -> Heard:
        there = self.spoken == keyword
        return Heard(self.spoken[there], self.hits[there], self.alarms.of_keyword(keyword))

    def in_other_audio(self, alarms: Alarms) -> Heard:
        """The same keywords, with false alarms that were counted elsewhere."""
        return Heard(self.spoken, self.hits, alarms)

    @property
    def curve(self) -> DetCurve:
        """Miss rate and false alarms an hour at every threshold, keywords pooled; raises MetricError if nothing was spoken, or
        there is no audio without."""
        self._ensure_both()
        scores = np.sort(self.alarms.scores)
        thresholds = np.append(np.unique([*self.hits[np.isfinite(self.hits)], *scores]), np.inf)
        misses = np.searchsorted(np.sort(self.hits), thresholds, "left") / len(self.hits)
        return DetCurve(thresholds, misses, (len(scores) - np.searchsorted(scores, thresholds, "left")) / self.alarms.hours)

    def share_missed_at(self, rate: float) -> float:
        """Of the spoken keywords, at ``rate`` false alarms an hour."""
        self._ensure_both()
        return float(self._misses_at(np.array([rate]), self.hits, np.ones(len(self.alarms.scores)))[0])

    def misses_at(self, rate: float) -> Estimate:
        """The same with its interval."""
        value = self.share_missed_at(rate)
        low, high = self.band(np.array([rate]))
        return Estimate(value, float(low[0]), float(high[0]))

    def band(self, rates_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(R,) ends of the 95 % intervals of the misses at these rates.

        Each is the wider one of two intervals. The bootstrap over spoken keywords and false alarms knows nothing of misses that
        did not happen. Wilson's does not know that the threshold is uncertain too.
        """
        self._ensure_both()
        rng, scores = np.random.default_rng(0), self.alarms.scores
        draws = np.array(
            [
                self._misses_at(rates_R, rng.choice(self.hits, len(self.hits)), rng.poisson(1.0, len(scores)))
                for _ in range(RESAMPLES)
            ]
        )
        found = self._misses_at(rates_R, self.hits, np.ones(len(scores)))
        ends = []
        for share, of_rate in zip(found, draws.T):
            (low, high), (least, most) = percentile_interval(of_rate), share_interval(float(share), len(self.hits))
            ends.append((min(low, least), max(high, most)))
        return tuple(np.array(ends).T)

    def alarms_at(self, misses: float) -> Estimate | None:
        """False alarms an hour at the highest threshold with at most this share of misses; None if every threshold misses more.

        The interval is exact for a Poisson process (Garwood, 1936, doi:10.1093/biomet/28.3-4.437).
        """
        self._ensure_both()
        threshold = np.sort(self.hits)[int(np.floor(misses * len(self.hits) + 1e-9))]
        return self._an_hour(self.alarms.scores >= threshold) if np.isfinite(threshold) else None

    def alarms_from(self, thresholds_K: np.ndarray) -> Estimate:
        """False alarms an hour where each keyword has a threshold."""
        return self._an_hour(self.alarms.scores >= thresholds_K[self.alarms.keywords])

    def misses_from(self, thresholds_K: np.ndarray) -> Estimate:
        """Misses where each keyword has a threshold."""
        share = float((self.hits < thresholds_K[self.spoken]).mean())
        return Estimate(share, *share_interval(share, len(self.hits)))

    def _an_hour(self, is_told_A: np.ndarray) -> Estimate:
        count, hours = int(is_told_A.sum()), self.alarms.hours
        low, high = poisson_interval(count)
        return Estimate(count / hours, low / hours, high / hours)

    def _misses_at(self, rates_R: np.ndarray, hits_N: np.ndarray, weights_A: np.ndarray) -> np.ndarray:
        """(R,) misses where each false alarm counts so often."""
        order = np.argsort(-self.alarms.scores, kind="stable")
        # A threshold must lie above the first alarm that is one too many, and above all of its score.
        first = np.searchsorted(np.cumsum(weights_A[order]), rates_R * self.alarms.hours + 1e-9, "right")
        refused = np.append(self.alarms.scores[order], -np.inf)[first]
        return np.searchsorted(np.sort(hits_N), refused, "right") / len(hits_N)

    def _ensure_both(self) -> None:
        if not len(self.hits) or self.alarms.hours <= 0:
            raise MetricError("misses at false alarms an hour need spoken keywords, and audio without them")
