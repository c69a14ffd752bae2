"""One small model that learns from the whole ensemble, under MPI.

    mpirun -np 3 python -m hpcnas.distil RUN [--set distillation.key=value ...]

The student may have any architecture; beside it the same one learns from the labels alone, side by side if there are two
groups. Interrupted, the stage resumes at the first unfinished training.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.combiners import Average
from hpcnas.core.errors import ArchitectureError, ConfigError, RunError
from hpcnas.core.inheritance import NoInheritance
from hpcnas.core.space import spell
from hpcnas.core.stopping import NeverStop
from hpcnas.core.strategies import Lineup
from hpcnas.core.trial import Proposal, Trial
from hpcnas.core.tuning import TuningConfig
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.losses import Distillation, LabelLoss, Objective
from hpcnas.runtime.conduct import Plan, conduct
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.groups import check_horovod, set_threads
from hpcnas.runtime.launch import on_every_rank, on_first_rank, run_program, set_up_logging
from hpcnas.runtime.models import Library
from hpcnas.runtime.roles import Roles
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir, Stage

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    run_program(distil, argv)


def distil(world: MPI.Comm, argv: Sequence[str]) -> int:
    """Train the student; returns the exit status."""
    run, config, lineup = on_first_rank(world, lambda: prepare(argv))
    roles = Roles(world.size, config.search.group_size)
    set_up_logging(run, world.rank, leads=world.rank in {0, *map(roles.leader, range(roles.groups))})
    if run.student.complete.exists():
        if world.rank == 0:
            logger.info("%s: the student is complete already; remove %s to train another", run.root, run.student.root)
        return 0
    on_every_rank(world, check_horovod)
    set_threads(world)
    corpus = load_corpus(world, config)
    teachers = ensemble_file.load(run.ensemble_file).members

    def objective(trial: Trial, smoothing: float, stage: Stage, library: Library) -> Objective:
        if trial.proposal.mutation == "control":
            return LabelLoss(smoothing)
        lent = [(teacher.weight, library.lend(run.stage(teacher.stage), teacher.trial)) for teacher in teachers]
        return Distillation(lent, config.distillation, smoothing)

    plan = Plan(
        stage=run.student,
        strategy=lineup,
        inheritance=NoInheritance(),
        stopping=NeverStop(),
        tuning=TuningConfig(),
        combiner=Average(),
        search=replace(
            config.search, max_trials=lineup.trials, max_steps=0, time_limit=0.0, keep_weights=lineup.trials, suggestions=()
        ),
        training=replace(config.training, epochs=config.distillation.epochs),
        augmentation=config.augmentation,
        budget=Budget(),
        splits=("validation", "test"),
        objective=objective,
    )
    status = conduct(world, config, corpus, roles, plan)
    if status == 0 and world.rank == 0:
        tell(run, corpus)
    return status


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, Lineup]:
    """Run directory, configuration, and what is to be trained."""
    parser = argparse.ArgumentParser(prog="python -m hpcnas.distil", description="Train one small model by a run's ensemble.")
    parser.add_argument("run", type=Path, help="directory of a run with an ensemble")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    arguments = parser.parse_args(argv)
    run = RunDir(arguments.run)
    run.require()
    if not run.ensemble_file.exists():
        raise RunError(f"{run.root}: has no ensemble to learn from; run hpcnas.ensemble first")
    config = configuration.load(run.config, arguments.set)
    if changed := configuration.differences(configuration.load(run.config), config):
        raise ConfigError(f"--set {'; '.join(changed)}: distillation may change distillation.* and search.group_size only")
    run.create()
    architecture = student(run, config.distillation.student)
    configuration.remember(run.student.settings, config.distillation, "distillation")
    control = (Proposal(architecture, None, "control"),) if config.distillation.control else ()
    lineup = Lineup((Proposal(architecture, None, "student"),), control)
    for trial in (record.event for record in replay(run.student.journal) if isinstance(record.event, Trial)):
        if trial.id >= lineup.trials or trial.proposal != lineup.given[trial.id]:
            raise RunError(f"{run.student.root}: was begun for another student ({trial.architecture}); remove it to begin anew")
    return run, config, lineup


def student(run: RunDir, given: str) -> Architecture:
    """The architecture that ``distillation.student`` names."""
    if not given:
        first = ensemble_file.load(run.ensemble_file).members[0]
        return weights.load_architecture(run.stage(first.stage).weights(first.trial))
    if given.isdigit():
        trials = Archive(record.event for record in replay(run.search.journal)).trials
        if int(given) not in trials:
            raise ConfigError(f"distillation.student = {given}: no such trial in {run.root}; it has 0 to {len(trials) - 1}")
        return trials[int(given)].architecture
    try:
        return spell(given, BLOCK_TYPES)
    except ArchitectureError as error:
        raise ConfigError(f"distillation.student: {error}") from error


def tell(run: RunDir, corpus: Corpus) -> None:
    """Say what the student is worth."""
    archive = Archive(record.event for record in replay(run.student.journal))
    for result in archive.ranking:
        trial = archive.trials[result.trial]
        logits, labels = weights.load_logits(run.student.weights(trial.id), "test"), corpus.test.labels
        accuracy = metrics.accuracy(logits, labels)
        error = metrics.standard_error(accuracy, len(labels))
        logger.info("%s: test accuracy %.4f (s.e. %.4f)", trial.proposal.mutation, accuracy, error)


if __name__ == "__main__":
    main()
