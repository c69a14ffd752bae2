"""Mining negatives: the windows of audio without keywords that a model takes for keywords most surely, for the next to learn
from (hard negative mining: Sung & Poggio, 1998, doi:10.1109/34.655648, who add false detections to the negative examples)."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hpcnas.config import Config
from hpcnas.core.errors import RunError
from hpcnas.data import mined, negatives, unknown
from hpcnas.data.corpus import CorpusIndex
from hpcnas.data.mined import Mined, Window
from hpcnas.data.negatives import Negative
from hpcnas.judging.field import Told, told_in
from hpcnas.runtime.features import indexed
from hpcnas.runtime.together import World, on_every_rank, on_first_rank
from hpcnas.store.files import replacing
from hpcnas.store.run_dir import RunDir, Stage
from hpcnas.use.classifier import Classifier

logger = logging.getLogger(__name__)


def further(world: World, run: RunDir, stage: Stage, config: Config, model: str) -> Callable[[CorpusIndex], CorpusIndex]:
    """What adds to a stage's corpus the windows that a model of the stage before has mined; collective over ``world``, whose
    ranks hear a share each. A stage that is resumed goes on with what it began with.

    Raises:
        RunError: on all ranks, if the stage was begun with another ``data.mine_negatives``.
        DataError: on all ranks, for negatives that cannot be used.
    """
    before = on_first_rank(world, lambda: _before(stage, config))
    if not config.data.mine_negatives:
        return lambda index: index
    if before is None:
        classifier = Classifier.open(run, model)
        unknown.label_of("mine_negatives", classifier.class_names)
        found = mine(world, classifier, f"{run.root.name}: {model}", config, config.data.mine_negatives)
        on_first_rank(world, lambda: save(stage.mined, found))
        if world.rank == 0:
            logger.info("%s: %s, kept in %s", run.root, summary(found), stage.mined)
    else:
        found = before
    return lambda index: unknown.with_mined(index, found)


def _before(stage: Stage, config: Config) -> Mined | None:
    """What the stage was begun with, if it was."""
    wanted = config.data.mine_negatives
    found = mined.load(stage.mined) if stage.mined.exists() else None
    begun = found.wanted if found else 0 if stage.journal.exists() else wanted
    if begun != wanted:
        raise RunError(
            f"{stage.root}: was begun with data.mine_negatives = {begun}, now {wanted}; give the same, or remove the folder to "
            "begin anew"
        )
    return found


def mine(world: World, classifier: Classifier, name: str, config: Config, wanted: int, processes: int = 1) -> Mined:
    """The windows, most surely taken first: at most so many, none nearer than half a window to another.

    Args:
        name: of the model, for people.
        config: whose ``data.negatives`` count: those of its training part.
    """
    recordings = on_first_rank(world, lambda: for_training(config))
    own = recordings[world.rank :: world.size]
    told = on_every_rank(world, lambda: told_in(classifier, own, config.data.on_bad_file, processes))
    window_s, delay_s = config.data.window_s, _delay_s(classifier)
    candidates = [window for one in told for window in windows_of(one, classifier.class_names, window_s, delay_s)]
    everyone = world.allgather((loudest(candidates, wanted, window_s), sum(hours for _, _, hours in told)))
    together = [window for of_rank, _ in everyone for window in of_rank]
    return Mined(name, wanted, sum(hours for _, hours in everyone), tuple(loudest(together, wanted, window_s)))


def for_training(config: Config) -> Sequence[Negative]:
    """The recordings that may be mined; raises DataError."""
    corpus = indexed(replace(config, data=config.data.as_it_is))
    return negatives.part(negatives.index(config.data, corpus, corpus.keywords), "train")


def windows_of(told: Told, class_names: Sequence[str], window_s: float, delay_s: float) -> list[Window]:
    """Around what was heard in a recording.

    Args:
        delay_s: by which scores come later than what they are of.
    """
    recording, found, _ = told
    end_s = negatives.end_of(recording)
    path = Path(os.path.abspath(recording.path))
    windows = []
    for one in found:
        start_s = recording.start_s + max(0.0, one.time_s - delay_s - window_s / 2)
        start_s = max(recording.start_s, min(start_s, end_s - window_s))
        windows.append(Window(path, round(start_s, 3), class_names[one.keyword], round(one.score, 4)))
    return windows


def loudest(candidates: Sequence[Window], wanted: int, window_s: float) -> list[Window]:
    """So many of the highest scores, none nearer than half a window to a higher one in its recording."""
    taken: dict[Path, list[float]] = defaultdict(list)
    found: list[Window] = []
    for one in sorted(candidates, key=lambda one: (-one.score, one.path, one.start_s, one.keyword)):
        if len(found) == wanted:
            break
        if all(abs(one.start_s - other) >= window_s / 2 for other in taken[one.path]):
            taken[one.path].append(one.start_s)
            found.append(one)
    return found


def _delay_s(classifier: Classifier) -> float:
    """Smoothing is a mean over what was before."""
    spotting = classifier.config.spotting
    return max(0.0, spotting.smoothing_s - spotting.hop_s) / 2


def save(path: Path, found: Mined) -> None:
    with replacing(path) as part:
        part.write_text(mined.as_text(found), encoding="utf-8")


def summary(found: Mined) -> str:
    """In a line."""
    if not found.windows:
        return f"{found.model} took nothing for a keyword in {found.hours:.2f} h: nothing was mined"
    scores = f"scores {found.windows[0].score:.2f} to {found.windows[-1].score:.2f}"
    return f"{len(found.windows)} window(s) of {found.hours:.2f} h that {found.model} took for keywords, {scores}"
