"""Misses at so many false alarms an hour as one number that a search can maximise, from logits of windows.

Shape letters: ``N`` recordings, ``S`` windows of audio without keywords, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpcnas.core.false_alarms import LOWEST, Alarms, Heard
from hpcnas.core.metrics import log_posteriors
from hpcnas.core.spotting import Spotter, SpottingConfig


@dataclass(frozen=True, eq=False)
class Stream:
    """Where the windows of audio without keywords lie.

    Args:
        recordings_S: number of the recording that each window is of, ascending.
        times_s: (S,) middles of the windows in their recordings, ascending in each.
        hours: of that audio.
        keywords: numbers of the classes that are.
        config: its rate of false alarms, and how near two of them are one.
    """

    recordings_S: np.ndarray
    times_s: np.ndarray
    hours: float
    keywords: Sequence[int]
    config: SpottingConfig

    def heard_share(self, logits_NK: np.ndarray, labels_N: np.ndarray, of_windows_SK: np.ndarray) -> float:
        """Share of the keywords' recordings that reach the threshold which so many false alarms leave, in [0, 1].

        Each recording is one window and has the score of its class. Scores are not smoothed: what is spoken is heard in few
        windows that overlap by half.
        """
        scores_SK, rows = np.exp(log_posteriors(of_windows_SK)), np.isin(labels_N, self.keywords)
        found = []
        for recording in np.unique(self.recordings_S):
            there = self.recordings_S == recording
            spotter = Spotter(self.keywords, replace(self.config, smoothing_s=0.0), LOWEST)
            found += [*spotter.push(scores_SK[there], self.times_s[there]), *spotter.finish()]
        hits = np.exp(log_posteriors(logits_NK))[rows, labels_N[rows]]
        heard = Heard(labels_N[rows], hits, Alarms.of(found, self.hours))
        return 1 - heard.share_missed_at(self.config.false_alarms_per_hour)
