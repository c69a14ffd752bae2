"""Search by a model of the score: many mutations are drawn, the one that the model likes best is tried.

Two models on the same features, whether a block stands at a place and how often it occurs:

- ``linear_model``: ridge regression, as in google/model_search's search algorithm of that name.
- ``harmonica``: sparse low-degree polynomial in them, after Hazan, Klivans & Yuan, ICLR 2018 (arXiv:1706.00764): a lasso picks
  the few products of at most ``degree`` features that matter.
  differs: the paper fixes the best settings of those and samples the rest; here they score the mutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.checks import at_least, between
from hpcnas.core.mutation import random_mutation, random_tower
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal

MOST_TRIALS = 1000
"""The model is fitted to so many latest trials: the time it takes grows with their square."""
MOST_BASE_FEATURES = 60
"""Features that ``harmonica`` multiplies with each other: the most frequent ones."""


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """Ridge regression as the model of the score."""

    initial: int = 10
    """Random towers before the model is asked."""
    initial_depth: int = 3
    """Largest depth of those."""
    candidates: int = 50
    """Mutations drawn for one trial."""
    beam: int = 5
    """They are mutations of so many best trials."""
    exploration: float = 0.2
    """Share of trials for which the model is not asked."""
    ridge: float = 1.0
    """Weight of the squared coefficients."""

    def __post_init__(self) -> None:
        at_least(
            1, "strategy", initial=self.initial, initial_depth=self.initial_depth, candidates=self.candidates, beam=self.beam
        )
        between(0, 1, "strategy", exploration=self.exploration)
        at_least(0, "strategy", ridge=self.ridge)

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        if len(archive.ranking) < self.initial:
            return Proposal(random_tower(space, int(rng.integers(1, self.initial_depth + 1)), rng), None, "start")
        proposals = [self._mutation(archive, space, rng) for _ in range(self.candidates)]
        new = [proposal for proposal in proposals if not archive.seen(proposal.architecture)]
        # What was refused was the model's favourite: leave it to chance once in a while.
        if not new or refused % 2 or rng.random() < self.exploration:
            return proposals[0]
        latest = archive.latest(MOST_TRIALS)
        tried = [archive.trials[result.trial].architecture for result in latest]
        scores = np.array([result.merit for result in latest])
        predicted = self.predict(tried, scores, [proposal.architecture for proposal in new])
        return new[int(predicted.argmax())]

    def predict(self, tried: Sequence[Architecture], scores: np.ndarray, new: Sequence[Architecture]) -> np.ndarray:
        """Expected scores of ``new`` towers, given those of the ``tried``."""
        x, x_new = features(tried, new)
        centre, level = x.mean(0), scores.mean()
        x, x_new = x - centre, x_new - centre
        # The dual form: as many unknowns as trials, however many features.
        dual = np.linalg.solve(x @ x.T + max(self.ridge, 1e-9) * np.eye(len(x)), scores - level)
        predicted: np.ndarray = level + x_new @ (x.T @ dual)
        return predicted

    def _mutation(self, archive: Archive, space: SearchSpace, rng: np.random.Generator) -> Proposal:
        best = archive.best(self.beam)
        parent = best[rng.integers(len(best))]
        child, step = random_mutation(parent.architecture, space, rng)
        return Proposal(child, parent.id, step)


@dataclass(frozen=True, kw_only=True)
class Harmonica(LinearModel):
    """A sparse polynomial as the model of the score."""

    degree: int = 2
    """Most features in a product."""
    lasso: float = 0.003
    """Weight of the absolute coefficients, in units of the score."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, "strategy", degree=self.degree)
        at_least(0, "strategy", lasso=self.lasso)

    def predict(self, tried: Sequence[Architecture], scores: np.ndarray, new: Sequence[Architecture]) -> np.ndarray:
        x, x_new = features(tried, new)
        frequent = np.argsort(-(x > 0).sum(0), kind="stable")[:MOST_BASE_FEATURES]
        x, x_new = x[:, frequent], x_new[:, frequent]
        products = [p for d in range(1, self.degree + 1) for p in combinations(range(x.shape[1]), d)]
        x, x_new = (np.stack([values[:, p].prod(1) for p in products], 1) for values in (x, x_new))
        centre, level = x.mean(0), scores.mean()
        predicted: np.ndarray = level + (x_new - centre) @ lasso(x - centre, scores - level, self.lasso)
        return predicted


def features(*groups: Sequence[Architecture]) -> list[np.ndarray]:
    """One row a tower: the block at each place (1 or 0), how often each block and each kind occurs, the depth."""
    named = [[_describe(tower) for tower in group] for group in groups]
    names = sorted({name for group in named for tower in group for name in tower})
    column = {name: i for i, name in enumerate(names)}
    arrays = []
    for group in named:
        array = np.zeros((len(group), len(names)))
        for row, tower in enumerate(group):
            for name, value in tower.items():
                array[row, column[name]] = value
        arrays.append(array)
    return arrays


def lasso(x: np.ndarray, y: np.ndarray, weight: float, rounds: int = 200) -> np.ndarray:
    """Coefficients that minimise |x b - y|^2 / 2n + weight |b|_1, by accelerated proximal gradient (FISTA:
    Beck & Teboulle, 2009, doi:10.1137/080716542)."""
    step = len(x) / max(float(np.linalg.norm(x, 2) ** 2), 1e-12)
    b = ahead = np.zeros(x.shape[1])
    momentum = 1.0
    for _ in range(rounds):
        moved = ahead - step * (x.T @ (x @ ahead - y)) / len(x)
        after = np.sign(moved) * np.maximum(np.abs(moved) - step * weight, 0)
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / faster * (after - b)
        b, momentum = after, faster
    return b


def _describe(tower: Architecture) -> dict[str, float]:
    counts: dict[str, float] = {"depth": tower.depth}
    for place, block in enumerate(tower.blocks):
        for name in (f"{place} {block}", f"{place} {block.kind}", str(block), block.kind):
            counts[name] = counts.get(name, 0) + 1
    return counts
