"""Full figures of a model of a run, on its own test split or on any other corpus.

    python -m hpcnas.evaluate RUN [--model NAME] [--data FOLDER] [--split test] [--against NAME] [--json] [--set data.key=value]

Models: ``ensemble``, ``member 0``, ``student``, ``best`` (of the search), or the number of a trial. Prints tables and writes a
page below ``report/``. Keyword models are also run over the split's recordings one after the other, as over a stream.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
from mpi4py import MPI
from rich.console import Console
from rich.table import Column, Table

from hpcnas import config as configuration
from hpcnas import pictures
from hpcnas.classifier import MODEL_NAMES, Classifier
from hpcnas.core import detection, metrics
from hpcnas.core.detection import DetCurve
from hpcnas.core.errors import ConfigError, DataError, HpcnasError
from hpcnas.core.significance import bootstrap_interval, mcnemar
from hpcnas.core.spotting import Detection, Spoken, detections, smoothed, spotting_curve
from hpcnas.core.units import thousands
from hpcnas.data.corpus import SPLITS
from hpcnas.data.speech_commands import SILENCE, UNKNOWN
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import load_corpus
from hpcnas.store.files import replacing
from hpcnas.store.run_dir import RunDir

RATES = (0.5, 1.0, 10.0)
"""False alarms per hour at which misses are told."""


CLASS_COLUMNS = ("examples", "recall", "precision", "EER", "ROC area", "misses at 1/h")


@dataclass(frozen=True)
class Figure:
    """One number about a model, with its 95 % interval (bootstrap over examples) where it has one."""

    name: str
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClassRow:
    """How one class is told from all others."""

    name: str
    examples: int
    recall: float
    precision: float
    eer: float
    area: float
    """Under the ROC curve."""
    misses: float = float("nan")
    """Of a keyword in the stream, at one false alarm of it an hour."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of a model on a split."""

    model: str
    examples: int
    figures: Sequence[Figure]
    classes: Sequence[ClassRow]
    curve: DetCurve
    """Of the stream, false alarms per hour; without keywords of all classes against the others, false alarms as a share."""
    hours: float
    """Of stream without keywords; 0 without a stream."""
    counts: np.ndarray
    """(K, K) confusion."""
    pairs: Sequence[tuple[str, str, float]]
    """The classes that are hardest to tell apart, with the equal error rate of doing so."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.evaluate", description="Full figures of a model on a corpus.")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--model", default="ensemble", help=MODEL_NAMES)
    parser.add_argument("--data", help="another corpus in the same layout (data.path)")
    parser.add_argument("--split", default="test", choices=SPLITS)
    parser.add_argument("--against", help="a second model to compare with on the same examples (McNemar's test)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    arguments = parser.parse_args(argv)
    try:
        evaluate(arguments, Console())
    except HpcnasError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


def evaluate(arguments: argparse.Namespace, console: Console) -> None:
    """Print the figures and write the page."""
    run = RunDir(arguments.run)
    classifier = Classifier.open(run, arguments.model)
    overrides = [*arguments.set, *([f"data.path={json.dumps(arguments.data)}"] if arguments.data else [])]
    config = configuration.load(run.config, overrides)
    changed = configuration.differences(classifier.config, config)
    if foreign := [change for change in changed if not change.startswith("data.")]:
        raise ConfigError(f"--set {'; '.join(foreign)}: only data.* and spotting.* can be changed here")
    if arguments.data and not Path(arguments.data).expanduser().exists():
        raise DataError(f"{arguments.data}: no such folder")
    classifier = replace(classifier, config=replace(classifier.config, spotting=config.spotting))
    corpus = adapted(load_corpus(MPI.COMM_SELF, config, classifier.front_end), classifier)
    split = getattr(corpus, arguments.split)
    if not len(split):
        raise DataError(f"the {arguments.split} split is empty; see --split")
    logits = predicted(classifier, corpus, split)
    evaluation = figures_of(classifier, corpus, split, logits)
    p = None
    if arguments.against:
        other = predicted(Classifier.open(run, arguments.against), corpus, split)
        p = mcnemar(logits.argmax(1) == split.labels, other.argmax(1) == split.labels)
    if arguments.json:
        print(json.dumps(as_values(evaluation, arguments.against, p), indent=1))
        return
    show(console, evaluation)
    if p is not None:
        console.print(f"as often right as {arguments.against}: p = {p:.4f} (McNemar's exact test)", highlight=False)
    page = run.evaluation(f"{arguments.model}-{arguments.split}")
    write_page(page, f"{run.root.resolve().name}: {arguments.model}", classifier, evaluation)
    console.print(f"page: {page}", soft_wrap=True, highlight=False)


def adapted(corpus: Corpus, classifier: Classifier) -> Corpus:
    """The corpus with labels as the model numbers them; raises DataError for a class that the model does not know."""
    known = list(classifier.class_names)
    if foreign := [name for name in corpus.class_names if name not in known]:
        raise DataError(f"the corpus has classes that the model does not know: {', '.join(foreign)}; known: {', '.join(known)}")
    numbers = np.array([known.index(name) for name in corpus.class_names])
    splits = {name: replace(getattr(corpus, name), labels=numbers[getattr(corpus, name).labels]) for name in SPLITS}
    return replace(corpus, **splits, class_names=tuple(known))


def predicted(classifier: Classifier, corpus: Corpus, split: Split) -> np.ndarray:
    """(N, K) logits."""
    return Trainer(corpus, SoloGroup(), classifier.config.training).evaluate(classifier.model, split)


def figures_of(classifier: Classifier, corpus: Corpus, split: Split, logits: np.ndarray) -> Evaluation:
    """All figures of given logits."""
    labels, names = split.labels, corpus.class_names
    figures = [
        Figure(name, metric(logits, labels), bootstrap_interval(metric, logits, labels, resamples=300))
        for name, metric in (
            ("accuracy", metrics.accuracy),
            ("balanced accuracy", metrics.balanced_accuracy),
            ("macro F1", metrics.macro_f1),
            ("equal error rate", metrics.eer),
            ("Cavg", metrics.cavg),
            ("Cavg, P_target 0.1", partial(metrics.cavg, p_target=0.1)),
            ("cross entropy", metrics.cross_entropy),
        )
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
                eer=detection.equal_error_rate(odds[:, number], is_it),
                area=detection.roc_area(odds[:, number], is_it),
            )
        )
    keywords = [number for number, name in enumerate(names) if name not in (UNKNOWN, SILENCE)]
    if len(keywords) < len(names):
        curve, hours, of_keyword = streamed(classifier, corpus, split, keywords)
        numbers = np.unique(labels).tolist()
        classes = [replace(row, misses=of_keyword.get(number, row.misses)) for number, row in zip(numbers, classes)]
        figures += [Figure(f"misses at {rate:g} false alarms an hour", detection.miss_rate_at(curve, rate)) for rate in RATES]
    else:
        curve = detection.det_curve(odds.ravel(), (np.arange(len(names)) == labels[:, None]).ravel())
        hours = 0.0
    return Evaluation(classifier.name, len(labels), figures, classes, curve, hours, counts, hardest(logits, labels, names))


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
    and for each keyword the misses at one false alarm of it an hour."""
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


def as_values(evaluation: Evaluation, against: str | None, p: float | None) -> dict:
    """For programs: numbers by name."""
    return {
        "model": evaluation.model,
        "examples": evaluation.examples,
        "figures": {figure.name: {"value": figure.value, "interval": figure.interval} for figure in evaluation.figures},
        "classes": [{k: None if v != v else v for k, v in asdict(row).items()} for row in evaluation.classes],
        "confusion": evaluation.counts.tolist(),
        "hardest_pairs": list(evaluation.pairs),
        **({"against": against, "p": p} if against else {}),
    }


def show(console: Console, evaluation: Evaluation) -> None:
    """Tables for people."""
    table = Table("figure", Column("value", justify="right"), Column("95 % interval", justify="right"))
    table.title = f"{evaluation.model}, {evaluation.examples} examples"
    for figure in evaluation.figures:
        interval = f"{figure.interval[0]:.4f} to {figure.interval[1]:.4f}" if figure.interval else ""
        table.add_row(figure.name, f"{figure.value:.4f}", interval)
    if evaluation.hours:
        minutes, rate = 60 * evaluation.hours, 1 / evaluation.hours
        table.caption = f"{minutes:.1f} minutes without keywords: one false alarm is {rate:.1f} an hour"
    console.print(table)
    table = Table("class", *(Column(name, justify="right") for name in CLASS_COLUMNS))
    for row in evaluation.classes:
        figures = (
            f"{row.recall:.1%}",
            f"{row.precision:.1%}",
            f"{row.eer:.1%}",
            f"{row.area:.4f}",
            "" if row.misses != row.misses else f"{row.misses:.1%}",
        )
        table.add_row(row.name, str(row.examples), *figures)
    console.print(table)
    for one, other, rate in evaluation.pairs:
        console.print(f"hard to tell apart: {one} and {other}, equal error rate {rate:.1%}", highlight=False)


def write_page(path: Path, title: str, classifier: Classifier, evaluation: Evaluation) -> None:
    """One self-contained HTML page."""
    template = (Path(__file__).parent / "evaluation.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template)
    text = page.render(
        title=title,
        subtitle=f"{evaluation.examples} examples, {thousands(classifier.params)} parameters",
        evaluation=evaluation,
        confusion=pictures.to_svg(pictures.confusion(evaluation.counts, classifier.class_names)),
        det=pictures.to_svg(pictures.det(evaluation.curve, per_hour=evaluation.hours > 0)),
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
