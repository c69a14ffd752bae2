"""Who judges a model: one process with others beside it, or the ranks of a job, each with a share of the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.nn.training import Trainer
from hpcnas.runtime.threads import set_alone
from hpcnas.runtime.together import SoloWorld, World, is_a_rank, summed
from hpcnas.showing.terminal import outer_edge


@dataclass(frozen=True)
class Crew:
    """Every method is called by all ranks, in the same order, and returns the same on all of them.

    Args:
        processes: that a rank may have side by side.
        device: of this rank, for recordings of one window; long audio is heard on CPUs.
    """

    world: World = field(default_factory=SoloWorld)
    processes: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def speaks(self) -> bool:
        """Whether this rank prints and writes."""
        return self.world.rank == 0

    def say(self, text: str) -> None:
        """A line on standard error."""
        if self.speaks:
            print(text, file=sys.stderr)

    def logits(self, model: nn.Module, corpus: Corpus, split: Split, training: TrainingConfig) -> np.ndarray:
        """(N, K) of a split; the model stays where it is."""
        here = replace(corpus, front_end=corpus.front_end.on(self.device))
        trainer = Trainer(here, _Shares(self.world), training, device=self.device)
        return trainer.evaluate(deepcopy(model).to(self.device), split.on(self.device, resident=False))


class _Shares(SoloGroup):
    """Ranks that have the same model already."""

    def __init__(self, world: Any) -> None:
        self._world, self.rank, self.size = world, world.rank, world.size

    def sum(self, array: np.ndarray) -> np.ndarray:
        return summed(self._world, array)


def run_by_crew(program: Callable[[Crew, Sequence[str] | None], None], argv: Sequence[str] | None) -> None:
    """Run a program in this process, or together with the other ranks if a launcher of MPI ranks started it."""
    if not is_a_rank(os.environ):
        with outer_edge():
            program(Crew(SoloWorld(), set_alone(), torch.device("cuda" if torch.cuda.is_available() else "cpu")), argv)
        return

    from hpcnas.runtime import groups, launch  # not above: they start MPI

    def by_ranks(world: Any, arguments: Sequence[str]) -> int:
        threads = groups.set_threads(world, every_rank=True)
        place = groups.choose_place(world, True, 1, world.size)
        place.take()
        program(Crew(world, threads, place.device), arguments)
        return 0

    launch.run_program(by_ranks, argv)
