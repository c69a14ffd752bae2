"""Keywords in audio of any length: from samples, or log-mel, to detections.

A window slides over the audio, or, if the model is causal, it is fed frame by frame. Knows of no files and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from hpcnas.core.spotting import Detection, Smoother, Spotter, SpottingConfig, Threshold
from hpcnas.data import audio
from hpcnas.data.corpus import SILENCE, UNKNOWN
from hpcnas.data.features import frames_of
from hpcnas.use.classifier import Classifier

Judged = Iterator[tuple[np.ndarray, np.ndarray]]
"""Middles of windows in seconds (S,), and their logits (S, K), batch by batch."""
_AT_ONCE = 256
"""Positions of a batch."""


def keywords_of(classifier: Classifier) -> list[int]:
    """Numbers of the classes that are keywords."""
    return [number for number, name in enumerate(classifier.class_names) if name not in (UNKNOWN, SILENCE)]


def heard(classifier: Classifier, samples: np.ndarray, threshold: Threshold, config: SpottingConfig) -> list[Detection]:
    """Keywords in samples at ``audio.RATE`` whose smoothed posterior reaches ``threshold``, or that of the keyword."""
    return list(hear([samples], classifier, threshold, config))


def hear(
    blocks: Iterable[np.ndarray], classifier: Classifier, threshold: Threshold, config: SpottingConfig
) -> Iterator[Detection]:
    """The same in audio that comes in blocks, each as soon as it is certain; memory does not grow with the audio."""
    judge = listened if classifier.can_listen else scanned
    return spotted(judge(blocks, classifier, config), classifier, threshold, config)


def hear_frames(
    log_mel_FT: np.ndarray, classifier: Classifier, threshold: Threshold, config: SpottingConfig
) -> Iterator[Detection]:
    """The same in raw log-mel that is at least a window long."""
    if not classifier.can_listen:
        judged = classifier.scan_pieces([log_mel_FT], config.hop_s)
    else:
        hop = max(1, frames_of(config.hop_s, classifier.config.features.bank))
        steps = (log_mel_FT[:, start : start + hop].astype(np.float32) for start in range(0, log_mel_FT.shape[1], hop))
        judged = batched(classifier.listen_frames(steps), classifier)
    return spotted(judged, classifier, threshold, config)


def spotted(judged: Judged, classifier: Classifier, threshold: Threshold, config: SpottingConfig) -> Iterator[Detection]:
    """Detections from logits over time."""
    smoother, spotter = Smoother(config), Spotter(keywords_of(classifier), config, threshold)
    for times_s, logits in judged:
        yield from spotter.push(smoother.push(classifier.posteriors(logits)), times_s)
    yield from spotter.finish()


def scanned(blocks: Iterable[np.ndarray], classifier: Classifier, config: SpottingConfig) -> Judged:
    """By a window that slides."""
    return classifier.scan_blocks(blocks, config.hop_s)


def listened(blocks: Iterable[np.ndarray], classifier: Classifier, config: SpottingConfig) -> Judged:
    """Frame by frame, for causal models."""
    hop = round(config.hop_s * audio.RATE)
    return batched(classifier.listen(pieces(padded(blocks, classifier), hop)), classifier)


def batched(told: Iterator[tuple[float, np.ndarray]], classifier: Classifier) -> Judged:
    """What a causal model says at ends of windows."""
    half_s = classifier.config.data.window_s / 2
    while batch := list(islice(told, _AT_ONCE)):
        yield np.array([time_s - half_s for time_s, _ in batch]), np.stack([logits for _, logits in batch])


def padded(blocks: Iterable[np.ndarray], classifier: Classifier) -> Iterator[np.ndarray]:
    """At least a window of samples, and behind them what the last frames look into."""
    features, count = classifier.config.features, 0
    for block in blocks:
        count += len(block)
        yield block
    missing = max(0, round(classifier.config.data.window_s * audio.RATE) - count)
    yield np.zeros(missing + round(features.window_ms / 1000 * audio.RATE), np.float32)


def pieces(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """The same samples in pieces of ``length``; the last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        known = np.concatenate([rest, block])
        whole = len(known) - len(known) % length
        yield from (known[start : start + length] for start in range(0, whole, length))
        rest = known[whole:]
    if len(rest):
        yield rest
