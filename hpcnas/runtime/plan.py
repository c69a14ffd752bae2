"""What distinguishes the stages of a run from each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpcnas.config import Config
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.combiners import Average, Combiner
from hpcnas.core.inheritance import InheritanceRule, NoInheritance
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.stopping import NeverStop, StoppingRule
from hpcnas.core.strategies import Finals, Lineup, Strategy
from hpcnas.core.trial import Cost, Proposal, Trial
from hpcnas.core.tuning import TuningConfig
from hpcnas.nn.augmentation import AugmentationConfig
from hpcnas.nn.losses import Objective
from hpcnas.nn.model import Model
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.runtime.models import Library, labels_alone
from hpcnas.store.run_dir import Stage

FINAL_SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Plan:
    """A stage: what is tried, how it is trained, when it is over."""

    stage: Stage
    strategy: Strategy
    inheritance: InheritanceRule
    stopping: StoppingRule
    tuning: TuningConfig
    combiner: Combiner
    search: SearchConfig
    training: TrainingConfig
    augmentation: AugmentationConfig
    budget: Budget
    starts: Callable[[Callable[[Architecture], Cost]], Sequence[Proposal]] = lambda measure: ()
    """What is tried first, given the cost of a tower; asked for on rank 0 where none but these was tried yet."""
    splits: Sequence[str] = ("validation",)
    """Whose predictions are stored with the weights; the first is the validation split, and if it is the only one and nobody
    builds on them, large ones are computed when they are needed."""
    objective: Callable[[Trial, float, Stage, Library], Objective] = labels_alone
    """What a trial's training minimises."""
    ready: Callable[[Trial, Model], None] = lambda trial, model: None
    """Called on every rank of a group with a trial's model before anything is inherited or trained."""
    begin: Callable[[], None] = lambda: None
    """Called on rank 0 when no other program can be writing the stage, before any of it is read or written."""
    refresh: Callable[[Archive], None] = lambda archive: None
    """Called on rank 0 now and then, and at the end."""
    conclude: Callable[[Archive], None] = lambda archive: None
    """Called on rank 0 when the stage is over for good, before it counts as complete."""
    job_end: float = math.inf
    """Seconds since the epoch at which the job is over."""


def final_plan(config: Config, stage: Stage, lineup: Finals | Lineup, epochs: int, **more: Any) -> Plan:
    """A stage that trains given architectures from scratch, whatever limits the search had, and perhaps others like them."""
    search = replace(config.search, max_trials=lineup.trials, max_steps=0, time_limit=0.0, keep_weights=lineup.trials)
    plan = Plan(
        stage=stage,
        strategy=lineup,
        inheritance=NoInheritance(),
        stopping=NeverStop(),
        tuning=TuningConfig(),
        combiner=Average(),
        search=search,
        training=replace(config.training, epochs=epochs, quantised=config.training.quantised or config.ensemble.quantised),
        augmentation=config.augmentation,
        budget=Budget(),
        splits=FINAL_SPLITS,
    )
    return replace(plan, **more)
