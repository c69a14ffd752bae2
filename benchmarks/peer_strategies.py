"""Searches of other packages as strategies of ours: the same blocks, limits and trainer, and only the choice is theirs.

    tools/with_env.sh .venv python benchmarks/peer_strategies.py [arguments of hpcnas.search] --set strategy.name=propulate

Optuna's tree-structured Parzen estimator and Propulate's evolution choose depth, kinds and settings of blocks. A tower over
the limits counts as one with a score of 0, one that was tried counts as it did then. Used by searches.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.strategies import STRATEGIES
from hpcnas.core.trial import Proposal
from hpcnas.search import main

Choose = Callable[[str, Sequence[int]], int]
"""One of some values, by name."""


def tower(choose: Choose, space: SearchSpace) -> Architecture:
    blocks = []
    for place in range(choose("depth", range(1, space.max_depth + 1))):
        kind = space.types[choose(f"{place}.kind", range(len(space.types)))]
        settings = {name: choose(f"{place}.{kind.kind}.{name}", values) for name, values in kind.choices.items()}
        blocks.append(Block(kind.kind, tuple(settings.items())))
    return Architecture(tuple(blocks))


def genes(space: SearchSpace) -> dict[str, Sequence[int]]:
    """All names that ``tower`` may ask for, with their values."""
    found: dict[str, Sequence[int]] = {"depth": range(1, space.max_depth + 1)}
    for place in range(space.max_depth):
        found[f"{place}.kind"] = range(len(space.types))
        for kind in space.types:
            found.update({f"{place}.{kind.kind}.{name}": values for name, values in kind.choices.items()})
    return found


class Asking:
    """A strategy that asks another package and tells it what came of it.

    Packages differ by two methods: ``ask(space, seed)`` gives a question and its tower, ``tell(question, score)`` answers it.
    """

    @cached_property
    def asked(self) -> dict[int, tuple[Any, Architecture]]:
        """Questions without an answer, by trial."""
        return {}

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        seed = int(rng.integers(1 << 31))
        scores = {archive.trials[result.trial].architecture: result.score for result in archive.ranking}
        for trial, (question, architecture) in list(self.asked.items()):
            if trial in archive.results or trial == archive.next_id:  # it has a result, or was refused
                self.tell(question, scores.get(architecture, 0.0))
                del self.asked[trial]
        question, architecture = self.ask(space, seed)
        self.asked[archive.next_id] = question, architecture
        return Proposal(architecture, None, "asked")


@dataclass(kw_only=True)
class OptunaTpe(Asking):
    _study = None

    def ask(self, space: SearchSpace, seed: int) -> tuple[Any, Architecture]:
        import optuna

        if self._study is None:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        trial = self._study.ask()
        return trial, tower(lambda name, values: trial.suggest_categorical(name, list(values)), space)

    def tell(self, question: Any, score: float) -> None:
        self._study.tell(question, score)


@dataclass(kw_only=True)
class PropulateEvolution(Asking):
    population: int = 8
    _breed = None

    @cached_property
    def _known(self) -> list:
        return []

    def ask(self, space: SearchSpace, seed: int) -> tuple[Any, Architecture]:
        from propulate.utils import get_default_propagator

        if self._breed is None:
            limits = {name: tuple(map(str, values)) for name, values in genes(space).items()}
            self._breed = get_default_propagator(pop_size=self.population, limits=limits, rng=random.Random(seed))
        individual = self._breed(self._known)
        return individual, tower(lambda name, values: int(individual[name]), space)

    def tell(self, question: Any, score: float) -> None:
        question.loss = -score
        self._known.append(question)


STRATEGIES |= {"optuna_tpe": OptunaTpe, "propulate": PropulateEvolution}

if __name__ == "__main__":
    main()
