"""One stage of a run under MPI: every rank in its role until the coordinator has no more work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mpi4py import MPI

from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.coordinator import Coordinator, SearchConfig
from hpcnas.core.errors import ConfigError
from hpcnas.core.trial import Cost, Result, Trial
from hpcnas.core.tuning import NoTuner, Tuner, TuningConfig
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.cost import measure
from hpcnas.nn.losses import Objective
from hpcnas.nn.model import build_model
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer
from hpcnas.runtime.channel import GroupChannel, LeaderChannel, LocalChannel, meet, serve
from hpcnas.runtime.groups import HorovodGroup, choose_device
from hpcnas.runtime.launch import EXIT_SUSPENDED, alone, on_every_rank, on_first_rank, stop_on_signal
from hpcnas.runtime.models import Library, labels_alone
from hpcnas.runtime.roles import Roles
from hpcnas.runtime.trainer import TrialRunner
from hpcnas.runtime.watch import Watch
from hpcnas.store.journal import Journal, replay
from hpcnas.store.run_dir import Stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What distinguishes the stages of a run from each other."""

    stage: Stage
    strategy: object
    inheritance: object
    stopping: object
    tuning: TuningConfig
    combiner: object
    search: SearchConfig
    training: TrainingConfig
    augmentation: AugmentationConfig
    budget: Budget
    splits: Sequence[str] = ("validation",)
    objective: Callable[[Trial, float, Stage, Library], Objective] = labels_alone
    refresh: Callable[[Archive], None] = lambda archive: None
    """Called on rank 0 now and then, and at the end."""


REFRESH_EVERY_S = 30.0


def conduct(world: MPI.Comm, config: Config, corpus: Corpus, roles: Roles, plan: Plan) -> int:
    """Run a stage; collective over ``world``. Returns the exit status, 0 or EXIT_SUSPENDED, on every rank."""
    trainers = world.Split(0 if roles.group(world.rank) is not None else MPI.UNDEFINED, world.rank)
    device = choose_device(trainers) if trainers != MPI.COMM_NULL else None
    on_every_rank(world, lambda: check_precision(plan.training, device))
    number = roles.group(world.rank)
    comm = world.Split(MPI.UNDEFINED if number is None else number, world.rank)
    # Another job may be writing this run: all ranks must hear of it.
    desk = on_every_rank(world, lambda: _Desk(config, corpus, roles, plan) if world.rank == 0 else None)
    if desk is None:
        stop_on_signal(lambda: None)
    if number is not None:
        group = HorovodGroup(comm)
        line = None
        if comm.rank == 0:
            line = LocalChannel(desk.coordinator) if roles.alone else LeaderChannel(world)
        trainer = Trainer(corpus, group, plan.training, plan.augmentation, device)
        around = config.space.surroundings(corpus.bands, len(corpus.class_names), plan.training.dropout)
        runner = TrialRunner(
            number, GroupChannel(comm), line, trainer, around, config.augmentation, plan.inheritance, plan.stage, plan.budget,
            metrics.OBJECTIVES[config.search.objective], plan.splits, plan.objective,
        )  # fmt: skip
        with alone():
            runner.work()
        group.close()
    elif desk is not None:
        with alone():
            serve(desk.coordinator, world, roles.groups)
    meet(world)
    return on_first_rank(world, desk.close if desk else lambda: 0)


def check_precision(training: TrainingConfig, device: torch.device | None) -> None:
    """Refuse mixed precision where it would not make anything faster."""
    if training.mixed_precision and device is not None and device.type == "cpu":
        raise ConfigError("training.mixed_precision = true needs a GPU, and there is none; set it to false")


class _Desk:
    """Rank 0's side of a stage: the coordinator with journal, clock, signals and what the user watches."""

    def __init__(self, config: Config, corpus: Corpus, roles: Roles, plan: Plan) -> None:
        self._plan, self._corpus = plan, corpus
        self._around = config.space.surroundings(corpus.bands, len(corpus.class_names))
        records = replay(plan.stage.journal)
        archive = Archive(record.event for record in records)
        self._journal = Journal(plan.stage.journal)
        self._before = records[-1].elapsed if records else 0.0
        self._start = self._refreshed = time.monotonic()
        self._costs: dict[Architecture, Cost] = {}
        self._watch = Watch(archive, plan.search.max_trials, roles.groups, self._elapsed, plan.search.objective)
        self.coordinator = Coordinator(
            strategy=plan.strategy,
            space=config.space.build(),
            config=plan.search,
            seed=config.seed,
            record=self._record,
            measure=self._measure,
            budget=plan.budget,
            inheritance=plan.inheritance,
            tuner=make_tuner(plan.tuning, config.seed),
            stopping=plan.stopping,
            combiner=plan.combiner,
            archive=archive,
            stored=lambda trial: plan.stage.weights(trial).exists(),
            discard=lambda trial: plan.stage.weights(trial).unlink(missing_ok=True),
            elapsed=self._elapsed,
        )
        stop_on_signal(self._suspend)

    def close(self) -> int:
        """Leave everything in order; the exit status."""
        coordinator = self.coordinator
        self._watch.close()
        self._plan.refresh(coordinator.archive)
        if not coordinator.finished:
            logger.info("suspended with %d results; the same command with --resume goes on", len(coordinator.archive.results))
            return EXIT_SUSPENDED
        self._plan.stage.complete.touch()
        logger.info(
            "complete: %s, %.0f s in all, groups busy %.1f %%", coordinator.ended, self._elapsed(), 100 * self._watch.busy_share
        )
        return 0

    def _suspend(self) -> None:
        self.coordinator.suspended = True

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._start

    def _record(self, event: Trial | Result) -> None:
        self._journal.append(event, self._elapsed())
        self._watch.update(event)
        if time.monotonic() - self._refreshed > REFRESH_EVERY_S:
            self._refreshed = time.monotonic()
            self._plan.refresh(self.coordinator.archive)

    def _measure(self, architecture: Architecture) -> Cost:
        if architecture not in self._costs:
            model = build_model(architecture, self._around, seed=0)
            self._costs[architecture] = measure(model, self._corpus.bands, self._corpus.window)
        return self._costs[architecture]


def make_tuner(config: TuningConfig, seed: int) -> Tuner:
    """The configured tuner."""
    if config.name == "none":
        return NoTuner()
    from hpcnas.runtime.optuna_tuner import OptunaTuner  # Optuna takes a second to load: only where it is used

    return OptunaTuner(config, seed)
