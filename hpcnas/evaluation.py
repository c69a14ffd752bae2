"""All figures of a classifier on a split: what ``evaluate`` prints and draws. Knows of no files and prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hpcnas.classifier import Classifier
from hpcnas.core import detection, metrics
from hpcnas.core.detection import DetCurve
from hpcnas.core.significance import bootstrap_interval, share_interval
from hpcnas.core.spotting import Detection, Spoken, detections, smoothed, spotting_curve
from hpcnas.data.speech_commands import SILENCE, UNKNOWN
from hpcnas.nn.corpus import Corpus, Split

RATES = (0.5, 1.0, 10.0)
"""False alarms per hour at which misses are told."""
OF_ANY_SPLIT = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "macro F1": metrics.macro_f1,
    "cross entropy": metrics.cross_entropy,
    "equal error rate": metrics.eer,
}
BETWEEN_CLASSES = {
    "ROC area": metrics.roc_area,
    "Cavg": metrics.cavg,
    "Cavg, P_target 0.1": partial(metrics.cavg, p_target=0.1),
}
"""Figures that a split of one class alone does not have."""


@dataclass(frozen=True)
class Figure:
    """One number about a model, with its 95 % interval: bootstrap over examples; for misses Wilson's over spoken keywords."""

    name: str
    value: float
    """NaN where the recordings are too few to tell."""
    interval: tuple[float, float]
    hours: float = 0.0
    """Without keywords, in which false alarms were counted; 0 for other figures."""

    @property
    def is_known(self) -> bool:
        return self.value == self.value


@dataclass(frozen=True)
class ClassRow:
    """How one class is told from all others."""

    name: str
    examples: int
    recall: float
    precision: float
    eer: float
    """This and the next: NaN where there is no other class."""
    area: float
    """Under the ROC curve."""
    misses: float = float("nan")
    """Of a keyword in the stream, at one false alarm of it an hour; NaN where the hours are too few to tell."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of a model on a split."""

    model: str
    examples: int
    figures: Sequence[Figure]
    classes: Sequence[ClassRow]
    curve: DetCurve
    """Of the stream, false alarms per hour; without a stream the same as ``roc``."""
    hours: float
    """Of stream without keywords; 0 without a stream."""
    roc: DetCurve
    """Of all classes, each against the others, pooled; false alarms as a share."""
    counts: np.ndarray
    """(K, K) confusion."""
    pairs: Sequence[tuple[str, str, float]]
    """The classes that are hardest to tell apart, with the equal error rate of doing so."""

    @property
    def has_misses(self) -> bool:
        """Whether those of some keyword are known."""
        return any(row.misses == row.misses for row in self.classes)

    @property
    def withheld(self) -> str:
        """Why some misses are no figures, in a line; empty if all are known."""
        rates = [f"{rate:g}" for rate in RATES if self.hours and not detection.tells_misses(self.hours, rate)]
        if not rates:
            return ""
        least = f"fewer than {detection.LEAST_ALARMS:g} false alarm{'s' if detection.LEAST_ALARMS > 1 else ''}"
        where = f"in {60 * self.hours:.1f} minutes without keywords"
        return f"misses at {', '.join(rates)} false alarms an hour are not told: {least} would be {where}"


def figures_of(classifier: Classifier, corpus: Corpus, split: Split, logits: np.ndarray) -> Evaluation:
    """All figures of given logits."""
    labels, names = split.labels, corpus.class_names
    several = len(np.unique(labels)) > 1
    wanted = {**OF_ANY_SPLIT, **(BETWEEN_CLASSES if several else {})}
    figures = [
        Figure(name, metric(logits, labels), bootstrap_interval(metric, logits, labels, resamples=300))
        for name, metric in wanted.items()
    ]
    odds = detection.log_odds(metrics.log_posteriors(logits))
    counts = metrics.confusion(logits, labels)
    classes = []
    for number in np.unique(labels):
        is_it = labels == number
        classes.append(
            ClassRow(
                name=names[number],
                examples=int(is_it.sum()),
                recall=counts[number, number] / counts[number].sum(),
                precision=counts[number, number] / max(1, counts[:, number].sum()),
                eer=detection.equal_error_rate(odds[:, number], is_it) if several else float("nan"),
                area=detection.roc_area(odds[:, number], is_it) if several else float("nan"),
            )
        )
    roc = detection.det_curve(odds.ravel(), (np.arange(len(names)) == labels[:, None]).ravel())
    curve, hours = roc, 0.0
    keywords = [number for number, name in enumerate(names) if name not in (UNKNOWN, SILENCE)]
    spoken = np.isin(labels, keywords)
    if len(keywords) < len(names) and spoken.any() and not spoken.all():
        curve, hours, of_keyword = streamed(classifier, corpus, split, keywords)
        numbers = np.unique(labels).tolist()
        classes = [replace(row, misses=of_keyword.get(number, row.misses)) for number, row in zip(numbers, classes)]
        figures += [misses_at(rate, curve, hours, int(spoken.sum())) for rate in RATES]
    return Evaluation(classifier.name, len(labels), figures, classes, curve, hours, roc, counts, hardest(logits, labels, names))


def misses_at(rate: float, curve: DetCurve, hours: float, spoken: int) -> Figure:
    """Share of so many spoken keywords that is missed at ``rate`` false alarms an hour, if ``hours`` are enough to tell."""
    name, nan = f"misses at {rate:g} false alarms an hour", float("nan")
    if not detection.tells_misses(hours, rate):
        return Figure(name, nan, (nan, nan), hours)
    misses = detection.miss_rate_at(curve, rate)
    return Figure(name, misses, share_interval(misses, spoken), hours)


def hardest(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], shown: int = 5) -> list[tuple[str, str, float]]:
    """Pairs of classes with the highest equal error rates."""
    rates = np.tril(np.nan_to_num(metrics.pairwise_eer(logits, labels)))
    places = np.argsort(-rates, axis=None, kind="stable")[:shown]
    rows, columns = np.unravel_index(places, rates.shape)
    return [(names[c], names[r], float(rates[r, c])) for r, c in zip(rows, columns) if rates[r, c] > 0]


def streamed(
    classifier: Classifier, corpus: Corpus, split: Split, keywords: Sequence[int]
) -> tuple[DetCurve, float, dict[int, float]]:
    """The split's recordings one after the other in random order: the curve with all keywords pooled, the hours that are none,
    and for each keyword the misses at one false alarm of it an hour, where its hours are enough to tell."""
    config, frame_s = classifier.config.spotting, classifier.config.features.hop_ms / 1000
    order = np.random.default_rng(0).permutation(len(split))
    log_mel = np.concatenate([split.frames[split.starts[i] : split.starts[i] + split.lengths[i]] for i in order]).T
    ends_s = np.cumsum(split.lengths[order]) * frame_s
    starts_s = ends_s - split.lengths[order] * frame_s
    spoken = [Spoken(int(split.labels[i]), a, b) for i, a, b in zip(order, starts_s, ends_s) if split.labels[i] in keywords]
    times_s, logits = classifier.scan_frames(log_mel, config.hop_s)
    scores = smoothed(np.exp(metrics.log_posteriors(logits)), config)
    found = detections(scores, times_s, keywords, config)

    def without(those: Sequence[Spoken]) -> float:
        return (ends_s[-1] - sum(one.end_s - one.start_s for one in those)) / 3600

    of_keyword = {}
    for keyword in {one.keyword for one in spoken}:
        own = [one for one in spoken if one.keyword == keyword]
        if not detection.tells_misses(without(own), 1.0):
            continue
        curve = spotting_curve([one for one in found if one.keyword == keyword], own, without(own), config)
        of_keyword[keyword] = detection.miss_rate_at(curve, 1.0)
    # All pooled, false alarms count only where no keyword is spoken, as its hours do.
    starts, ends = np.array([(one.start_s, one.end_s) for one in spoken]).T
    keywords_there = np.array([one.keyword for one in spoken])

    def is_elsewhere(one: Detection) -> bool:
        there = (starts <= one.time_s) & (one.time_s < ends)
        return not (there & (keywords_there != one.keyword)).any()

    outside = [one for one in found if is_elsewhere(one)]
    return spotting_curve(outside, spoken, without(spoken), config), without(spoken), of_keyword
