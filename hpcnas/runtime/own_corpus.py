"""The corpus of a run: the one that it was begun with, or none.

Scores, class names and weights of a run mean something on the corpus that they come from. So its identity is written down at
the start, and a stage that goes on compares before it computes any features. The first normalisation holds for all trials.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from hpcnas.config import Config
from hpcnas.core.corpus_identity import Change, CorpusIdentity, changes, class_changes
from hpcnas.core.errors import RunError
from hpcnas.data.corpus import CorpusIndex
from hpcnas.data.identity import identify
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.front_end import FrontEnd
from hpcnas.runtime.features import card_of, indexed, load_corpus
from hpcnas.runtime.together import World, on_first_rank
from hpcnas.store import corpus_file, model_card
from hpcnas.store.run_dir import RunDir, Stage

logger = logging.getLogger(__name__)

ACCEPT = "--accept-new-data"
OF_HEARING = ("window_s", "longest_s")
"""Keys of ``[data]`` that say how recordings are heard, beside ``[features]``."""


def own_corpus(
    world: World,
    config: Config,
    run: RunDir,
    stage: Stage,
    accept_new_data: bool = False,
    front_end: FrontEnd | None = None,
    further: Callable[[CorpusIndex], CorpusIndex] = lambda index: index,
) -> tuple[Corpus, Callable[[], None]]:
    """The corpus for a stage of a run, and what rank 0 is to call once the stage begins, which writes it down; collective over
    ``world``. Changes nothing in the run.

    Args:
        accept_new_data: go on with recordings of the same classes that were not there before.
        front_end: of a model that a new run goes on from; else one is fitted to its training split.
        further: adds what the stage has of its own to the corpus that the run knows.

    Raises:
        RunError: on all ranks, if the run was begun with another corpus.
        DataError: as for ``load_corpus``.
    """
    unknown: list[CorpusIdentity] = []
    """On rank 0: the corpus as it is, if that is not written down yet."""

    def agreed() -> CorpusIndex:
        index, before = indexed(config), before_of(run, stage)
        now = identified(index, config, before)
        agree(run, stage, before, now, accept_new_data, config.combiner.has_teams)
        if before is None or not stage.corpus.exists() or changes(before, now):
            unknown.append(now)
        return further(index)

    known = on_first_rank(world, lambda: known_front_end(run, config))
    corpus = load_corpus(world, config, known or front_end, agreed)

    def remember() -> None:
        for identity in unknown:
            corpus_file.save(stage.corpus, identity)
        if known is None:
            model_card.save(run.model_card, card_of(corpus))

    return corpus, remember


def add_accept_new_data(parser: argparse.ArgumentParser) -> None:
    """The argument by which a user says so."""
    parser.add_argument(
        ACCEPT, action="store_true", help="go on although there are further recordings of the same classes since the run began"
    )


def hearing(config: Config) -> Mapping[str, Any]:
    """Settings by which recordings are heard."""
    return {**asdict(config.features), **{key: getattr(config.data, key) for key in OF_HEARING}}


def known_front_end(run: RunDir, config: Config) -> FrontEnd | None:
    """With the normalisation that the run's models know; None if none was written yet."""
    if not run.exists or not run.model_card.exists():
        return None
    try:
        card = model_card.load(run.model_card)
    except RunError as error:
        logger.warning("%s; it is written anew", error)
        return None
    return FrontEnd(config.features.front_end, torch.tensor(card.mean).float(), torch.tensor(card.std).float())


def identified(index: CorpusIndex, config: Config, before: CorpusIdentity | None) -> CorpusIdentity:
    """The corpus as it is, by names that have most in common with what was written down."""
    if index.kept:
        now = replace(index.kept.identity, features=hearing(config))
        if before is None or not changes(before, now):
            return now
    now = identify(index, config.data, hearing(config))
    if before is None or before.root == now.root or not changes(before, now):
        return now
    # Recordings elsewhere may have moved what all of them have in common.
    alike = identify(index, config.data, hearing(config), before.root)
    return max(now, alike, key=lambda one: np.isin(one.members["name"], before.members["name"]).sum())


def agree(
    run: RunDir, stage: Stage, before: CorpusIdentity | None, now: CorpusIdentity, accept_new_data: bool, has_teams: bool
) -> None:
    """Raise RunError unless the run, or the stage if it was begun, may go on with the corpus as it is ``now``.

    Args:
        before: what was written down; None if nothing was.
        has_teams: whether trials are scored together with the stored predictions of earlier ones.
    """
    if not run.exists:
        return
    if before is None:
        if run.model_card.exists() and (found := class_changes(model_card.load(run.model_card).class_names, now.class_names)):
            raise refusal(run, stage, found, accept_new_data)
        if stage.journal.exists() or run.search.journal.exists():
            logger.warning(
                "%s: does not say which recordings it was begun with; the classes are the same, and from now on it goes by the "
                "recordings as they are", run.root
            )  # fmt: skip
        return
    if not (found := changes(before, now)):
        return
    is_final_or_team = is_begun_final(run, stage) or (has_teams and stage == run.search)
    if not accept_new_data or not all(change.is_addition for change in found) or is_final_or_team:
        raise refusal(run, stage, found, accept_new_data)
    logger.warning(
        "%s: new data accepted (%s); scores from before are not of the same recordings", run.root, told(found)
    )  # fmt: skip


def before_of(run: RunDir, stage: Stage) -> CorpusIdentity | None:
    """What was written down by this stage, or else by the one that it builds on; None for new and early runs."""
    if not run.exists:
        return None
    stages = (stage, run.ensemble, run.search) if stage == run.student else (stage, run.search)
    return next((corpus_file.load(of.corpus) for of in stages if of.corpus.exists()), None)


def is_begun_final(run: RunDir, stage: Stage) -> bool:
    """Whether it is a stage whose models are compared on one test split, and has some."""
    return stage != run.search and stage.corpus.exists()


def refusal(run: RunDir, stage: Stage, found: Sequence[Change], accept_new_data: bool) -> RunError:
    """In one line: what changed, and the way out."""
    if not all(change.is_addition for change in found):
        only = f" ({ACCEPT} takes further recordings of the same classes only)" if accept_new_data else ""
        way_out = f"restore it, or begin another run{only}"
    elif stage == run.search and accept_new_data:
        way_out = "trials of this combiner are scored together with earlier predictions, so restore it, or begin another run"
    elif is_begun_final(run, stage):
        way_out = f"restore it, or remove {stage.root} and give {ACCEPT}, to train its models anew"
    else:
        way_out = f"{ACCEPT} goes on with it, hpcnas.search --run DIR begins another run"
    return RunError(f"{stage.root}: the data is not what it was when this began: {told(found)}; {way_out}")


def told(found: Sequence[Change]) -> str:
    return "; ".join(change.what for change in found)
