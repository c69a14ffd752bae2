"""Full figures of a model, on the test split of its run or on any other corpus.

    python -m hpcnas.evaluate RUN_OR_MODEL [DATA] [--model NAME] [--split test] [--against MODEL] [--json] [--set KEY=VALUE]
        [--conditions [--noise FOLDER ...] [--rooms FOLDER ...]]
    mpirun -np 64 python -m hpcnas.evaluate ...      the same, each rank with a share of the recordings and of the hours

Models: ``ensemble``, ``member 0``, ``baseline``, ``student``, ``best`` (of the search), or the number of a trial of a run; or a
file that was exported as ``state_dict``. ``--against`` takes the same, another run's directory, or ``RUN:MODEL``. Prints tables
and writes a page below ``report/``, or beside the file. Keyword models are also run over the split's recordings one after the
other, as over a stream, and over the hours of ``data.negatives``, in as many processes as it may use threads; with
``data.confusable_words`` over words that sound like them, too. ``--conditions`` also hears the split in noise, in rooms,
quieter and through codecs. Recordings are judged on GPUs where ranks, or the process, have them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core.errors import ConfigError, DataError
from hpcnas.core.false_alarms import hours_needed
from hpcnas.core.significance import mcnemar
from hpcnas.core.thresholds import Thresholds
from hpcnas.core.units import thousands
from hpcnas.data import DATASETS, confusable, unknown
from hpcnas.data.conditions import Conditions
from hpcnas.data.corpus import SILENCE, SPLITS, UNKNOWN, CorpusIndex, DataConfig
from hpcnas.judging import spread
from hpcnas.judging.alike import figures_of_alike
from hpcnas.judging.evaluation import ClassRow, Evaluation, Figure, calibrated, figures_of, with_thresholds
from hpcnas.judging.field import FalseAlarms
from hpcnas.judging.robustness import Asked, alone, conditions_of, groupings, robustness
from hpcnas.judging.versus import ensure_comparable, fitted, hearing_of, opponent
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.runtime.crew import Crew, run_by_crew
from hpcnas.runtime.features import found_together, load_corpus
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.showing import pictures
from hpcnas.showing.terminal import console, plain
from hpcnas.store import model_card
from hpcnas.store.files import replacing
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import MODEL_NAMES, Classifier, opened

CLASS_COLUMNS = ("examples", "recall", "precision", "EER", "ROC area", "misses at 1/h", "threshold")
CLASS_FORMS = ("{:.1%}", "{:.1%}", "{:.1%}", "{:.4f}", "{:.1%}", "{:.3f}")
"""Of all but the first."""

OF_TRAINING = (
    "confusable_words", "confusable_language", "negatives", "negative_hours", "negative_percent", "mined_negatives",
)  # fmt: skip
"""Keys of what is no keyword that say what a model has learnt, where it is judged on its own corpus."""


def main(argv: Sequence[str] | None = None) -> None:
    run_by_crew(evaluate, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.evaluate", description="Full figures of a model on a corpus.")
    parser.add_argument("run", type=Path, help="run directory, or a model exported as state_dict")
    parser.add_argument("corpus", nargs="?", metavar="DATA", help="the same as --data")
    parser.add_argument("--model", help=MODEL_NAMES)
    parser.add_argument("--data", help="another corpus in the same layout (data.path)")
    parser.add_argument("--split", default="test", choices=SPLITS)
    parser.add_argument(
        "--against",
        metavar="MODEL",
        help="a second model to compare with on the same examples (McNemar's test): of this run, a file, RUN, or RUN:MODEL",
    )
    parser.add_argument(
        "--conditions",
        action="store_true",
        help="also in noise, in rooms, quieter, through codecs: the worst beside the mean",
    )
    for key in ("noise", "rooms"):
        parser.add_argument(
            f"--{key}", nargs="+", default=[], metavar="FOLDER",
            help=f"for --conditions: all that is there; else what is kept of data.{key}",
        )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    return parser


def evaluate(crew: Crew, argv: Sequence[str] | None) -> None:
    """Print the figures and write the page; called by every rank."""
    world = crew.world
    arguments = on_first_rank(world, lambda: _parser().parse_args(argv))
    path, data = arguments.run, arguments.data or arguments.corpus
    classifier = on_every_rank(world, lambda: opened(path, arguments.model))
    own_config = classifier.config
    overrides = [*arguments.set, *(configuration.elsewhere(own_config.data, data, arguments.set) if data else [])]
    config = configuration.parsed(configuration.dump(classifier.config), "--set", overrides)
    changed = configuration.differences(classifier.config, config)
    if foreign := [change for change in changed if not change.startswith("data.")]:
        raise ConfigError(f"--set {'; '.join(foreign)}: only data.* and spotting.* can be changed here")
    if data and not Path(data).expanduser().exists():
        raise DataError(f"{data}: no such folder")
    if (arguments.noise or arguments.rooms) and not arguments.conditions:
        raise ConfigError("--noise, --rooms: are for --conditions; give that too")
    is_whole = bool(data) and arguments.split == "test" and is_judged_whole(config.data, classifier.config.data, arguments.set)
    asked = config.data
    of_training = {key: getattr(own_config.data, key) for key in OF_TRAINING}
    config = replace(config, data=replace(config.data, **of_training))  # what is asked for now is for the test alone
    if data or path.is_file():  # nothing is trained on it
        config = replace(config, data=config.data.as_it_is)
    if is_whole:
        config = replace(config, data=replace(config.data, all_is_test=True))
    classifier = replace(classifier, config=replace(classifier.config, spotting=config.spotting))
    other = on_every_rank(world, lambda: opponent(path, arguments.against)) if arguments.against else None
    if other:
        ensure_comparable(classifier, other, arguments.against)
    index = found_together(world, config)
    corpus = adapted(load_corpus(world, config, classifier.front_end, lambda: index), classifier, crew.say)
    split = getattr(corpus, arguments.split)
    if not len(split):
        raise DataError(f"the {arguments.split} split is empty; see --split")
    if is_whole:
        crew.say(f"{data}: has neither lists nor folders of splits; all of its {len(split)} examples are judged")
    logits = predicted(crew, classifier, corpus, split)
    is_own = not data and is_heard_alike(own_config, config)
    if is_own:
        of_validation = predicted(crew, classifier, corpus, corpus.validation)
        classifier = calibrated(classifier, of_validation, corpus.validation)
    false_alarms = FalseAlarms(classifier, asked.as_it_is, index, crew)
    if is_own:
        classifier = with_thresholds(classifier, corpus.validation, false_alarms.of("validation"))
        if not path.is_file() and (kept := classifier.thresholds):
            name = classifier.name
            on_first_rank(world, lambda: model_card.add_thresholds(RunDir(path).model_card, name, kept))
    alarms = false_alarms.of(arguments.split)
    evaluation = figures_of(classifier, corpus, split, logits, alarms)
    is_right, versus = logits.argmax(1) == split.labels, None
    evaluation = replace(evaluation, groupings=groupings(is_right, split.rows, config.data, index, arguments.split))
    more = sounding_alike(crew, classifier, config, asked, arguments.split)
    evaluation = replace(evaluation, figures=[*evaluation.figures, *more])
    if arguments.conditions:
        sounds = Asked(arguments.noise, arguments.rooms)
        tried, untold = on_first_rank(world, lambda: conditions_of(asked, index, sounds))
        judge = partial(right_under, crew, classifier, config, index, arguments.split)
        evaluation = replace(evaluation, robustness=robustness(is_right, tried, untold, judge))
    if other:
        versus = compared(arguments.against, is_right, rights_of(crew, other, config, index, arguments.split))
    if crew.speaks:
        tell(arguments, classifier, evaluation, versus, is_own)


def tell(
    arguments: argparse.Namespace, classifier: Classifier, evaluation: Evaluation, versus: Versus | None, is_own: bool
) -> None:
    """Print what was found and write the page.

    Args:
        is_own: whether the model's thresholds were chosen just now.
    """
    path, out = arguments.run, console()
    if arguments.json:
        chosen = {"thresholds": asdict(classifier.thresholds)} if classifier.thresholds else {}
        print(json.dumps(as_values(evaluation, versus) | chosen, indent=1))
        return
    show(out, evaluation)
    if is_own and classifier.thresholds:
        out.print(basis(classifier.thresholds, is_kept=not path.is_file()), soft_wrap=True)
    if versus:
        shares = f"{versus.accuracy:.2%} against {versus.against_accuracy:.2%}"
        told = f"as often right as {versus.against} ({shares}): p = {versus.p:.4f} (McNemar's exact test)"
        out.print(told, soft_wrap=True)
    if path.is_file():
        page = path.with_name(f"{path.stem}-{arguments.split}.html")
    else:
        page = RunDir(path).evaluation(f"{classifier.name}-{arguments.split}")
    write_page(page, f"{path.resolve().name}: {classifier.name}", classifier, evaluation)
    out.print(f"page: {page}", soft_wrap=True)


def is_heard_alike(own: Config, config: Config) -> bool:
    """Whether thresholds that are chosen now hold for ``hpcnas.detect`` too: of the same recordings, smoothed alike."""
    rate = own.spotting.false_alarms_per_hour
    is_same = replace(config.spotting, false_alarms_per_hour=rate) == own.spotting
    return is_same and not configuration.differences(own, config, configuration.PLACES)


def basis(chosen: Thresholds, is_kept: bool) -> str:
    """What temperature and thresholds rest on, in a line."""
    said = f"temperature {chosen.temperature:.2f}"
    if chosen.keywords:
        said += f" and thresholds for {chosen.false_alarms_per_hour:g} false alarms an hour"
    said += ", chosen on validation"
    if chosen.keywords:
        said += f" with {chosen.hours:.2f} h without keywords"
    if chosen.keywords and not chosen.is_supported:
        said += f", which tell little of that rate ({hours_needed(chosen.false_alarms_per_hour):g} h would: data.negatives)"
    return f"{said}{'; kept in model_card.json' if is_kept else ''}"


def is_judged_whole(data: DataConfig, own: DataConfig, given: Sequence[str]) -> bool:
    """Whether all of a folder is for the test: neither it nor the user says what is, and the model was trained elsewhere."""
    is_given = any(setting.replace(" ", "").startswith("data.all_is_test=") for setting in given)
    is_own = bool(own.path) and Path(data.path).expanduser().resolve() == Path(own.path).expanduser().resolve()
    return not is_given and not is_own and not DATASETS[data.name].says_splits(data)


def adapted(corpus: Corpus, classifier: Classifier, say: Callable[[str], None]) -> Corpus:
    """The corpus with labels as the model numbers them; raises DataError for a class that the model does not know.

    A test set may have ``_unknown_`` and ``_silence_`` though the model knows keywords alone: it is said that these are left
    out.
    """
    known = list(classifier.class_names)
    absent = [name for name in corpus.class_names if name not in known]
    if foreign := [name for name in absent if name not in (UNKNOWN, SILENCE)]:
        raise DataError(
            f"the corpus has classes that the model does not know: {', '.join(foreign)}; known: {', '.join(known)}; "
            "--data names another corpus"
        )
    if absent:
        say(f"left out, as the model does not know them: {' and '.join(absent)}")
    numbers = np.array([known.index(name) if name in known else -1 for name in corpus.class_names])
    splits: dict[str, Any] = {name: relabelled(getattr(corpus, name), numbers) for name in SPLITS}
    return replace(corpus, **splits, class_names=tuple(known))


def relabelled(split: Split, numbers: np.ndarray) -> Split:
    """The split with other numbers for its labels, without those that get a negative one."""
    labels = numbers[split.labels]
    return replace(split, labels=labels).only(labels >= 0)


def predicted(crew: Crew, classifier: Classifier, corpus: Corpus, split: Split) -> np.ndarray:
    """(N, K) logits."""
    return crew.logits(classifier.model, corpus, split, classifier.config.training)


def right_under(
    crew: Crew, classifier: Classifier, config: Config, index: CorpusIndex, split_name: str, conditions: Conditions
) -> np.ndarray:
    """(N,) whether a model has each recording of a split right under conditions."""
    found = load_corpus(crew.world, config, classifier.front_end, lambda: alone(index, split_name, conditions))
    corpus = adapted(found, classifier, lambda text: None)  # it was said of the split as it is
    split = getattr(corpus, split_name)
    return predicted(crew, classifier, corpus, split).argmax(1) == split.labels


def sounding_alike(crew: Crew, classifier: Classifier, config: Config, data: DataConfig, split_name: str) -> list[Figure]:
    """What becomes of words that sound like the model's keywords, if ``data`` asks for some."""
    if not data.confusable_words:
        return []
    empty = CorpusIndex(tuple(classifier.class_names), dict.fromkeys(SPLITS, ()), ())
    unknown.label_of("confusable_words", classifier.class_names)
    examples = on_first_rank(crew.world, lambda: confusable.part(data, empty, split_name))
    corpus = load_corpus(crew.world, config, classifier.front_end, lambda: empty.with_more(split_name, examples))
    split = getattr(corpus, split_name)
    words = [examples[row].path.parent.name for row in split.rows]
    return figures_of_alike(classifier, predicted(crew, classifier, corpus, split), split.labels, words)


def rights_of(crew: Crew, other: Classifier, config: Config, index: CorpusIndex, split_name: str) -> np.ndarray:
    """(N,) whether a second model has each recording right, heard through its own front end."""
    own = hearing_of(other, config)
    if own.features != config.features or own.data != config.data:  # else the features are there
        index = replace(index, copies={})
    corpus = adapted(load_corpus(crew.world, own, other.front_end, lambda: fitted(index, own.data)), other, crew.say)
    split = getattr(corpus, split_name)
    return predicted(crew, other, corpus, split).argmax(1) == split.labels


@dataclass(frozen=True)
class Versus:
    """Two models on the same examples.

    Args:
        against: the second one, as the user calls it.
        accuracy: share that the first has right, in [0, 1].
        against_accuracy: share that the second has right.
        p: McNemar's, of being equally often right.
    """

    against: str
    accuracy: float
    against_accuracy: float
    p: float


def compared(against: str, is_right_N: np.ndarray, other_is_right_N: np.ndarray) -> Versus:
    if len(is_right_N) != len(other_is_right_N):
        raise DataError(f"--against {against}: could read {len(other_is_right_N)} recordings, not {len(is_right_N)}")
    return Versus(against, float(is_right_N.mean()), float(other_is_right_N.mean()), mcnemar(is_right_N, other_is_right_N))


def as_values(evaluation: Evaluation, versus: Versus | None) -> dict:
    """For programs: numbers by name; null for what is not known."""
    return {
        "model": evaluation.model,
        "examples": evaluation.examples,
        "hours_without_keywords": evaluation.hours,
        "figures": {figure.name: figure_values(figure) for figure in evaluation.figures},
        "classes": [{k: None if v != v else v for k, v in asdict(row).items()} for row in evaluation.classes],
        "confusion": evaluation.counts.tolist(),
        "hardest_pairs": list(evaluation.pairs),
        "groups": {one.by: spread.grouping_values(one) for one in evaluation.groupings},
        **({"conditions": spread.robustness_values(evaluation.robustness)} if evaluation.robustness else {}),
        **(asdict(versus) if versus else {}),
    }


def figure_values(figure: Figure) -> dict:
    known = figure.is_known
    values = {"value": figure.value if known else None, "interval": figure.interval if figure.has_interval else None}
    values |= {"hours": figure.hours} if figure.hours else {}
    return values | ({"unsupported": figure.unsupported} if figure.unsupported else {})


def show(console: Console, evaluation: Evaluation) -> None:
    """Tables for people."""
    table = Table("figure", Column("value", justify="right"), Column("95 % interval", justify="right"))
    table.title = f"{evaluation.model}, {evaluation.examples} examples"
    for figure in evaluation.figures:
        if figure.is_known:
            name = f"{figure.name}, of {figure.hours:.2f} h" if figure.hours else figure.name
            table.add_row(name, *figure.texts)
    console.print(table)
    for line in evaluation.withheld:
        console.print(line, soft_wrap=True)
    rows = [class_cells(row) for row in evaluation.classes]
    shown = [place for place in range(len(CLASS_COLUMNS)) if any(cells[place] for cells in rows)]
    table = Table("class", *(Column(CLASS_COLUMNS[place], justify="right") for place in shown))
    for row, cells in zip(evaluation.classes, rows):
        table.add_row(plain(row.name), *(cells[place] for place in shown))
    console.print(table)
    if len(evaluation.classes) == 1:
        console.print("one class alone: nothing to tell it from, so no figures that need another one")
    for one, other, rate in evaluation.pairs:
        console.print(f"hard to tell apart: {plain(one)} and {plain(other)}, equal error rate {rate:.1%}")
    spread.show_groupings(console, evaluation.groupings)
    if evaluation.robustness:
        spread.show_robustness(console, evaluation.robustness)


def class_cells(row: ClassRow) -> list[str]:
    """Texts below ``CLASS_COLUMNS``; empty for what is not known."""
    figures = (row.recall, row.precision, row.eer, row.area, row.misses, row.threshold)
    return [str(row.examples), *("" if figure != figure else form.format(figure) for figure, form in zip(figures, CLASS_FORMS))]


def write_page(path: Path, title: str, classifier: Classifier, evaluation: Evaluation) -> None:
    """One self-contained HTML page."""
    template = (Path(__file__).parent / "judging" / "evaluation.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template)
    field = evaluation.field
    rows = [(row.name, class_cells(row)) for row in evaluation.classes]
    text = page.render(
        title=title,
        columns=CLASS_COLUMNS,
        rows=rows,
        shown=[place for place in range(len(CLASS_COLUMNS)) if any(cells[place] for _, cells in rows)],
        subtitle=f"{evaluation.examples} examples, {thousands(classifier.params)} parameters",
        evaluation=evaluation,
        spread=spread,
        confusion=pictures.to_svg(pictures.confusion(evaluation.counts, classifier.class_names)),
        det=pictures.to_svg(pictures.in_the_field(field.pooled) if field else pictures.det(evaluation.roc)),
        roc=pictures.to_svg(pictures.roc(evaluation.roc)),
    )
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
