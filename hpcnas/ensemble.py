"""The final stage, under MPI: the best architecture retrained from scratch, its members' logits averaged.

    mpirun -np 3 python -m hpcnas.ensemble RUN [--set ensemble.key=value ...]

The search's best few are trained from scratch, validation picks one, and that one is trained again for every further member:
Algorithm 3 of Mazzawi et al., Interspeech 2019, whose p members differ in shuffling and initialisation. Groups work side by
side; a hand-designed baseline is trained in the same way. Where the search looked for ensembles (``combiner.name``), its best
trial and that trial's team are trained instead. With ``data.mine_negatives`` all of them also learn from what the search's best
model took for keywords in audio without any. Interrupted, the stage resumes at the first unfinished training.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.core.space import spell
from hpcnas.core.stopping import NeverStop
from hpcnas.core.strategies import Finals, Lineup
from hpcnas.core.strategies.finals import finalists
from hpcnas.core.trial import Proposal, Trial
from hpcnas.core.tuning import OF_TRAINING, Settings
from hpcnas.judging import mining
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.training import Trainer
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.models import labels_alone, labels_together, stored_logits
from hpcnas.runtime.own_corpus import add_accept_new_data
from hpcnas.runtime.plan import FINAL_SPLITS, final_plan
from hpcnas.runtime.stage import run_stage, set_up
from hpcnas.runtime.together import on_first_rank
from hpcnas.runtime.walltime import add_time_limit, job_end
from hpcnas.store import ensemble_file, weights
from hpcnas.store.ensemble_file import EnsembleFile, Member
from hpcnas.store.journal import archive_of, replay
from hpcnas.store.run_dir import RunDir

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    run_program(ensemble, argv)


def ensemble(world: MPI.Intracomm, argv: Sequence[str]) -> int:
    """Train and combine the members; returns the exit status."""
    run, config, finals, arguments = on_first_rank(world, lambda: prepare(argv))
    end = on_first_rank(world, lambda: job_end(arguments.time_limit))
    set_up_logging(run, world.rank)
    if run.ensemble.complete.exists() and run.ensemble_file.exists():
        if world.rank == 0:
            logger.info(
                "%s: the ensemble is complete already; remove %s to combine its members anew, its folder to train others",
                run.root,
                run.ensemble_file,
            )
        return 0
    further = partial(mining.further, world, run, run.ensemble, config, "best")
    corpus, remember = set_up(world, config, run, run.ensemble, arguments.accept_new_data, further=further)
    plan = final_plan(
        config,
        run.ensemble,
        finals,
        config.ensemble.epochs,
        objective=labels_together if config.combiner.trained_together else labels_alone,
        begin=lambda: begin(run, config, finals, remember),
        conclude=lambda archive: combine(run, config, corpus, finals, archive),
        stopping=finals.race if isinstance(finals, Finals) else NeverStop(),
        budget=config.space.budget,
        job_end=end,
    )
    return run_stage(world, config, corpus, plan)


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, Finals | Lineup, argparse.Namespace]:
    """Run directory, configuration, what is to be trained, and the command line."""
    arguments = _parser().parse_args(argv)
    run = RunDir(arguments.run)
    run.require()
    begun = configuration.load(run.config)
    config = configuration.load(run.config, arguments.set)
    places = configuration.PLACES if run.search.corpus.exists() else ()
    if changed := configuration.differences(begun, config, places):
        raise ConfigError(
            f"--set {'; '.join(changed)}: the ensemble stage may change ensemble.*, data.mine_negatives, search.group_size, "
            "and combiner.* among those that average models which were searched alone; others are chosen before the search"
        )
    run.create()
    archive = archive_of(run.search.journal)
    if not archive.ranking:
        raise RunError(f"{run.root}: no trial has a score yet; search first")
    finals = to_train(config, archive)
    configuration.check_remembered(run.ensemble.settings, config.ensemble, "ensemble")
    check_begun(run, finals)
    return run, config, finals, arguments


def begin(run: RunDir, config: Config, finals: Finals | Lineup, remember: Callable[[], None]) -> None:
    """Write down what the stage is begun with; nobody else may be writing it."""
    configuration.remember(run.ensemble.settings, config.ensemble, "ensemble")
    check_begun(run, finals)
    remember()


def check_begun(run: RunDir, finals: Finals | Lineup) -> None:
    """Raise RunError if the stage was begun for others than ``finals``."""
    known: set[Architecture] = set()
    for trial in (record.event for record in replay(run.ensemble.journal) if isinstance(record.event, Trial)):
        expected = [replace(given, team=()) for given in finals.given[trial.id : trial.id + 1]]
        if expected:
            is_expected = replace(trial.proposal, team=()) in expected
        else:  # a challenger, or one of those before once more
            is_expected = trial.architecture in known or not trial.proposal.given
        known.add(trial.architecture)
        if trial.id >= finals.trials or not is_expected:
            raise RunError(
                f"{run.ensemble.root}: was begun for other members (trial {trial.id}: {trial.architecture}); "
                "remove it to begin anew"
            )


def to_train(config: Config, archive: Archive) -> Finals | Lineup:
    """What the stage trains, given the search's archive."""
    drawn = config.ensemble.baseline
    baseline = Proposal(spell(drawn, BLOCK_TYPES), None, "baseline", role="baseline") if drawn else None
    if not config.combiner.has_teams:
        entrants, stage = finalists(archive, config.ensemble.finalists), config.ensemble
        return Finals.of(
            [_copy(trial) for trial in entrants],
            baseline,
            members=stage.members,
            epochs=stage.epochs,
            finishers=stage.finishers,
            challengers=stage.challengers,
        )
    (best,) = archive.best()
    members = [_copy(archive.trials[id_]) for id_ in (*best.proposal.team, best.id)]
    if config.combiner.trained_together:
        members = [replace(member, team=tuple(range(place))) for place, member in enumerate(members)]
    return Lineup(tuple(members), (baseline,) if baseline else ())


def _copy(trial: Trial) -> Proposal:
    return Proposal(trial.architecture, trial.id, "copy", _lasting(trial.proposal.settings))


def _lasting(settings: Settings) -> Settings:
    """Tuned settings that hold for long training too: those of augmentation are for short trials."""
    return tuple((name, value) for name, value in settings if name in OF_TRAINING)


def combine(run: RunDir, config: Config, corpus: Corpus, finals: Finals | Lineup, archive: Archive) -> None:
    """Average the logits of the members in the stage's archive, store the ensemble, and say what it is worth."""
    trained = finals.ensemble(archive)
    if not trained:
        raise RunError(f"{run.ensemble.root}: every member failed; see {run.ensemble.journal}")
    candidates = [("ensemble", trial.id) for trial in trained]
    if config.combiner.from_archive:
        others = [result.trial for result in archive.ranking if archive.trials[result.trial].proposal.role != "baseline"]
        candidates += [("ensemble", id_) for id_ in others if ("ensemble", id_) not in candidates]
        searched = archive_of(run.search.journal)
        best = (trial.id for trial in searched.best(config.combiner.from_archive))
        candidates += [("search", id_) for id_ in best if run.search.weights(id_).exists()]
    around = config.space.surroundings(corpus.bands, len(corpus.class_names))
    trainer = Trainer(corpus, SoloGroup(), config.training)
    logits = [stored_logits(run.stage(stage).weights(id_), FINAL_SPLITS, around, trainer) for stage, id_ in candidates]
    labels = {split: getattr(corpus, split).labels for split in FINAL_SPLITS}
    shares = config.combiner.combine(np.stack([of["validation"] for of in logits]), labels["validation"])
    combined = {split: sum(share * of[split] for share, of in zip(shares, logits)) for split in FINAL_SPLITS}
    members = [Member(*candidate, float(share)) for candidate, share in zip(candidates, shares) if share > 0]
    ensemble_file.save(run.ensemble_file, EnsembleFile(members, combined, labels, corpus.class_names))
    alone = [metrics.accuracy(of["test"], labels["test"]) for of, share in zip(logits, shares) if share > 0]
    together = metrics.accuracy(combined["test"], labels["test"])
    logger.info("members: test accuracy %s, mean %.4f", ", ".join(f"{a:.4f}" for a in alone), np.mean(alone))
    for trial in archive.trials.values():
        if trial.proposal.role == "baseline" and archive.results[trial.id].state.has_score:
            baseline = weights.load_logits(run.ensemble.weights(trial.id), "test")
            logger.info("hand-designed baseline: test accuracy %.4f", metrics.accuracy(baseline, labels["test"]))
    logger.info("ensemble of %d: test accuracy %.4f, stored in %s", len(members), together, run.ensemble_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.ensemble", description="Train and average the ensemble of a run.")
    parser.add_argument("run", type=Path, help="directory of a search")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    add_accept_new_data(parser)
    add_time_limit(parser)
    return parser


if __name__ == "__main__":
    main()
