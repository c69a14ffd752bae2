"""One small model that learns from the whole ensemble, under MPI.

    mpirun -np 3 python -m hpcnas.distil RUN [--set distillation.key=value ...]

The student may have any architecture; beside it the same one learns from the labels alone, side by side if there are two
groups. Interrupted, the stage resumes at the first unfinished training.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ArchitectureError, ConfigError, RunError
from hpcnas.core.space import spell
from hpcnas.core.strategies import Lineup
from hpcnas.core.trial import Proposal, Trial
from hpcnas.judging import mining
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.losses import Distillation, LabelLoss, Objective
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.models import Library
from hpcnas.runtime.own_corpus import add_accept_new_data
from hpcnas.runtime.plan import final_plan
from hpcnas.runtime.stage import run_stage, set_up
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.runtime.walltime import add_time_limit, job_end
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import archive_of, replay
from hpcnas.store.run_dir import RunDir, Stage

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    run_program(distil, argv)


def distil(world: MPI.Intracomm, argv: Sequence[str]) -> int:
    """Train the student; returns the exit status."""
    run, config, lineup, arguments = on_first_rank(world, lambda: prepare(argv))
    end = on_first_rank(world, lambda: job_end(arguments.time_limit))
    set_up_logging(run, world.rank)
    if run.student.complete.exists():
        if world.rank == 0:
            logger.info("%s: the student is complete already; remove %s to train another", run.root, run.student.root)
        return 0
    further = partial(mining.further, world, run, run.student, config, "ensemble")
    corpus, remember = set_up(world, config, run, run.student, arguments.accept_new_data, further=further)
    teachers = on_every_rank(world, lambda: ensemble_file.load(run.ensemble_file)).members

    def objective(trial: Trial, smoothing: float, stage: Stage, library: Library) -> Objective:
        if trial.proposal.role == "control":
            return LabelLoss(smoothing)
        lent = [(teacher.weight, library.lend(run.stage(teacher.stage), teacher.trial)) for teacher in teachers]
        return Distillation(lent, config.distillation, smoothing)

    plan = final_plan(
        config,
        run.student,
        lineup,
        config.distillation.epochs,
        objective=objective,
        begin=lambda: begin(run, config, lineup, remember),
        conclude=lambda archive: tell(run, corpus, archive),
        job_end=end,
    )
    return run_stage(world, config, corpus, plan)


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, Lineup, argparse.Namespace]:
    """Run directory, configuration, what is to be trained, and the command line."""
    parser = argparse.ArgumentParser(prog="python -m hpcnas.distil", description="Train one small model by a run's ensemble.")
    parser.add_argument("run", type=Path, help="directory of a run with an ensemble")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    add_accept_new_data(parser)
    add_time_limit(parser)
    arguments = parser.parse_args(argv)
    run = RunDir(arguments.run)
    run.require()
    if not run.ensemble_file.exists():
        raise RunError(f"{run.root}: has no ensemble to learn from; run hpcnas.ensemble first")
    config = configuration.load(run.config, arguments.set)
    places = configuration.PLACES if run.search.corpus.exists() else ()
    if changed := configuration.differences(configuration.load(run.config), config, places):
        raise ConfigError(f"--set {'; '.join(changed)}: distillation may change distillation.* and search.group_size only")
    run.create()
    architecture = student(run, config.distillation.student)
    configuration.check_remembered(run.student.settings, config.distillation, "distillation")
    control = (Proposal(architecture, None, "control", role="control"),) if config.distillation.control else ()
    lineup = Lineup((Proposal(architecture, None, "student", role="student"),), control)
    check_begun(run, lineup)
    return run, config, lineup, arguments


def begin(run: RunDir, config: Config, lineup: Lineup, remember: Callable[[], None]) -> None:
    """Write down what the stage is begun with; nobody else may be writing it."""
    configuration.remember(run.student.settings, config.distillation, "distillation")
    check_begun(run, lineup)
    remember()


def check_begun(run: RunDir, lineup: Lineup) -> None:
    """Raise RunError if the stage was begun for another student."""
    for trial in (record.event for record in replay(run.student.journal) if isinstance(record.event, Trial)):
        if trial.id >= lineup.trials or trial.proposal != lineup.given[trial.id]:
            raise RunError(f"{run.student.root}: was begun for another student ({trial.architecture}); remove it to begin anew")


def student(run: RunDir, given: str) -> Architecture:
    """The architecture that ``distillation.student`` names."""
    if not given:
        first = ensemble_file.load(run.ensemble_file).members[0]
        return weights.load_architecture(run.stage(first.stage).weights(first.trial))
    if given.isdigit():
        trials = archive_of(run.search.journal).trials
        if int(given) not in trials:
            raise ConfigError(f"distillation.student = {given}: no such trial in {run.root}; it has 0 to {len(trials) - 1}")
        return trials[int(given)].architecture
    try:
        return spell(given, BLOCK_TYPES)
    except ArchitectureError as error:
        raise ConfigError(f"distillation.student: {error}") from error


def tell(run: RunDir, corpus: Corpus, archive: Archive) -> None:
    """Say what the student is worth."""
    for result in archive.ranking:
        trial = archive.trials[result.trial]
        logits, labels = weights.load_logits(run.student.weights(trial.id), "test"), corpus.test.labels
        accuracy = metrics.accuracy(logits, labels)
        error = metrics.standard_error(accuracy, len(labels))
        logger.info("%s: test accuracy %.4f (s.e. %.4f)", trial.proposal.mutation, accuracy, error)


if __name__ == "__main__":
    main()
