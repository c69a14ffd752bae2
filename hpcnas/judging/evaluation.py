"""All figures of a classifier on a split: what ``evaluate`` prints and draws. Knows of no files and prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from hpcnas.core import calibration, detection, metrics, resampling, thresholds
from hpcnas.core.calibration import expected_calibration_error, temperature
from hpcnas.core.detection import DetCurve
from hpcnas.core.false_alarms import LEAST_ALARMS, Alarms, Estimate, Heard, hours_needed, supports
from hpcnas.core.resampling import Resampled
from hpcnas.core.significance import bootstrap_interval, share_interval
from hpcnas.core.thresholds import Thresholds
from hpcnas.core.worst import Grouping, Robustness
from hpcnas.data.corpus import UNKNOWN
from hpcnas.judging.field import Field
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.use.classifier import Classifier
from hpcnas.use.hearing import keywords_of

RATES = (0.1, 0.5, 1.0, 10.0)
"""False alarms an hour at which misses are told."""
MISSES = (0.05, 0.1)
"""At which false alarms an hour are told."""


class Metric(NamedTuple):
    """A figure of logits and labels, and the same of their resamples; None: drawing examples twice adds to it."""

    value: Callable[[np.ndarray, np.ndarray], float]
    resampled: Resampled | None

    def of(self, name: str, logits: np.ndarray, labels: np.ndarray) -> Figure:
        ends = bootstrap_interval(self.resampled, logits, labels, resamples=300) if self.resampled else (np.nan, np.nan)
        return Figure(name, self.value(logits, labels), ends)


OF_ANY_SPLIT = {
    "accuracy": Metric(metrics.accuracy, resampling.accuracy),
    "balanced accuracy": Metric(metrics.balanced_accuracy, resampling.balanced_accuracy),
    "macro F1": Metric(metrics.macro_f1, resampling.macro_f1),
    "cross entropy": Metric(metrics.cross_entropy, resampling.cross_entropy),
    "calibration error": Metric(expected_calibration_error, None),
    "equal error rate": Metric(metrics.eer, resampling.eer),
}
BETWEEN_CLASSES = {
    "ROC area": Metric(metrics.roc_area, resampling.roc_area),
    "Cavg": Metric(metrics.cavg, resampling.cavg(0.5)),
    "Cavg, P_target 0.1": Metric(partial(metrics.cavg, p_target=0.1), resampling.cavg(0.1)),
    "Cllr": Metric(metrics.cllr, resampling.cllr),
}
"""Figures that a split of one class alone does not have."""
OF_PROBABILITIES = ("cross entropy", "calibration error", "Cllr")
"""Figures that a temperature changes: told with it too."""


@dataclass(frozen=True)
class Figure:
    """One number about a model, with its 95 % interval: bootstrap over examples; of misses see ``Heard.band``; of false alarms
    exact for a Poisson process."""

    name: str
    value: float
    """NaN where the recordings are too few to tell."""
    interval: tuple[float, float]
    hours: float = 0.0
    """Without keywords, in which false alarms were counted; 0 for other figures."""
    unsupported: str = ""
    """Why there is no figure, and what it would take."""

    @property
    def is_known(self) -> bool:
        return not self.unsupported

    @property
    def has_interval(self) -> bool:
        return self.interval[0] == self.interval[0]

    @property
    def texts(self) -> tuple[str, str]:
        """Value and interval for people."""
        form = "{:.4f}" if abs(self.value) < 10 else "{:.1f}"
        return form.format(self.value), " to ".join(map(form.format, self.interval)) if self.has_interval else ""

    @classmethod
    def withheld(cls, name: str, why: str, hours: float) -> Figure:
        return cls(name, float("nan"), (float("nan"), float("nan")), hours, why)


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
    threshold: float = float("nan")
    """Chosen for a keyword; NaN where none was."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of a model on a split."""

    model: str
    examples: int
    figures: Sequence[Figure]
    classes: Sequence[ClassRow]
    field: Field | None
    """Of audio that goes on; None where there are no keywords, or nothing else."""
    roc: DetCurve
    """Of all classes, each against the others, pooled; false alarms as a share."""
    counts: np.ndarray
    """(K, K) confusion."""
    pairs: Sequence[tuple[str, str, float]]
    """The classes that are hardest to tell apart, with the equal error rate of doing so."""
    groupings: Sequence[Grouping] = ()
    robustness: Robustness | None = None
    """Where that was asked for."""

    @property
    def hours(self) -> float:
        """Without keywords, in which false alarms were counted; 0 if none were."""
        return self.field.hours if self.field else 0.0

    @property
    def withheld(self) -> list[str]:
        """Why some figures are not told, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for figure in self.figures:
            if figure.unsupported:
                by_reason.setdefault(figure.unsupported, []).append(figure.name)
        return [f"{', '.join(names)}: not told, {why}" for why, names in by_reason.items()]


def figures_of(
    classifier: Classifier, corpus: Corpus, split: Split, logits: np.ndarray, alarms: Alarms | None = None
) -> Evaluation:
    """All figures of given logits.

    Args:
        alarms: of audio without keywords, if there is any but the split's own.
    """
    labels, names = split.labels, corpus.class_names
    several = len(np.unique(labels)) > 1
    wanted = {**OF_ANY_SPLIT, **(BETWEEN_CLASSES if several else {})}
    figures = [metric.of(name, logits, labels) for name, metric in wanted.items()]
    if classifier.thresholds:
        cooled = logits / classifier.thresholds.temperature
        figures += [
            metric.of(f"{name}, calibrated", cooled, labels) for name, metric in wanted.items() if name in OF_PROBABILITIES
        ]
        figures += refused(classifier.posteriors(logits), labels, classifier.thresholds.none_below)
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
    field, keywords = None, keywords_of(classifier)
    spoken = np.isin(labels, keywords)
    if spoken.any() and (alarms is not None or not spoken.all()):
        field = Field.of(classifier, split, alarms)
        figures += in_the_field(field.pooled)
        own = classifier.thresholds.keywords if classifier.thresholds else {}
        if own:
            figures += at_thresholds(field.pooled, np.array([own.get(name, np.inf) for name in names]))
        numbers = np.unique(labels).tolist()
        classes = [
            replace(row, misses=misses_of(field, number), threshold=own.get(row.name, float("nan")))
            for number, row in zip(numbers, classes)
        ]
    return Evaluation(classifier.name, len(labels), figures, classes, field, roc, counts, hardest(logits, labels, names))


def refused(posteriors: np.ndarray, labels: np.ndarray, none_below: float) -> Iterator[Figure]:
    """Shares of right and wrong answers that are "none of these", if some answers can be."""
    is_right, is_refused = posteriors.argmax(1) == labels, posteriors.max(1) < none_below
    for name, those in (("right", is_right), ("wrong", ~is_right)) if none_below else ():
        if those.any():
            share = float(is_refused[those].mean())
            yield Figure(f"{name} answers refused", share, share_interval(share, int(those.sum())))


def in_the_field(heard: Heard) -> Iterator[Figure]:
    """Misses at rates of false alarms, and false alarms at shares of misses, where the audio is enough to tell."""
    hours = heard.alarms.hours

    for rate in RATES:
        name = f"misses at {rate:g} false alarm{'' if rate == 1 else 's'} an hour"
        if supports(hours, rate):
            found = heard.misses_at(rate)
            yield Figure(name, found.value, (found.low, found.high), hours)
        else:
            needed = f"{hours_needed(rate):g} h without keywords would be needed (data.negatives), not {hours:.2f}"
            yield Figure.withheld(name, needed, hours)
    for share in MISSES:
        name = f"false alarms an hour at {share:.0%} misses".replace("%", " %")
        alarms = heard.alarms_at(share)
        if alarms is None:
            yield Figure.withheld(name, "more keywords were not heard at all", hours)
        else:
            yield of_alarms(name, alarms, hours)


def of_alarms(name: str, found: Estimate, hours: float) -> Figure:
    """False alarms an hour, if so many were counted that they are a rate."""
    if round(found.value * hours) < LEAST_ALARMS:
        counted = f"{found.value * hours:.0f} in {hours:.2f} h are too few: below {found.high:.2g} an hour is all they say"
        return Figure.withheld(name, counted, hours)
    return Figure(name, found.value, (found.low, found.high), hours)


def at_thresholds(heard: Heard, thresholds_K: np.ndarray) -> Iterator[Figure]:
    """What is to be expected of ``detect``."""
    found, hours = heard.misses_from(thresholds_K), heard.alarms.hours
    yield Figure("misses at the thresholds", found.value, (found.low, found.high), hours)
    yield of_alarms("false alarms an hour at the thresholds", heard.alarms_from(thresholds_K), hours)


def calibrated(classifier: Classifier, logits: np.ndarray, split: Split) -> Classifier:
    """The classifier with the temperature that suits these logits of a split, and no thresholds of keywords yet."""
    found = Thresholds({}, 0.0, 0.0, classifier.digest, temperature(logits, split.labels))
    classifier = replace(classifier, thresholds=found)
    if UNKNOWN in classifier.class_names:
        return classifier
    least = calibration.none_below(classifier.posteriors(logits), split.labels)
    return replace(classifier, thresholds=replace(found, none_below=least))


def with_thresholds(classifier: Classifier, split: Split, alarms: Alarms | None) -> Classifier:
    """A calibrated classifier with thresholds by what was heard in a split, and false alarms as for ``figures_of``; without any
    where there are no keywords, or no audio is without."""
    rate, spoken = classifier.config.spotting.false_alarms_per_hour, np.isin(split.labels, keywords_of(classifier))
    if not spoken.any() or (alarms is None and spoken.all()):
        return classifier
    heard = Field.of(classifier, split, alarms).pooled
    own = {classifier.class_names[keyword]: found for keyword, found in thresholds.chosen(heard, rate).items()}
    assert classifier.thresholds is not None, "it was calibrated"
    chosen = replace(classifier.thresholds, keywords=own, false_alarms_per_hour=rate, hours=heard.alarms.hours)
    return replace(classifier, thresholds=chosen)


def misses_of(field: Field, number: int) -> float:
    """Of a keyword at one false alarm of it an hour; NaN where it was not spoken or the hours are too few to tell."""
    if number not in field.of_keyword or not supports(field.of_keyword[number].alarms.hours, 1.0):
        return float("nan")
    return field.of_keyword[number].misses_at(1.0).value


def hardest(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], shown: int = 5) -> list[tuple[str, str, float]]:
    """Pairs of classes with the highest equal error rates."""
    rates = np.tril(np.nan_to_num(metrics.pairwise_eer(logits, labels)))
    places = np.argsort(-rates, axis=None, kind="stable")[:shown]
    rows, columns = np.unravel_index(places, rates.shape)
    return [(names[c], names[r], float(rates[r, c])) for r, c in zip(rows, columns) if rates[r, c] > 0]
