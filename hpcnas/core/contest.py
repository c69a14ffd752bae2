"""Models that are compared, each trained several times: how good each is, with intervals, and how far behind the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core import metrics
from hpcnas.core.architecture import Architecture
from hpcnas.core.significance import mcnemar, percentile_interval, resampled_means
from hpcnas.core.trial import Proposal


@dataclass(frozen=True)
class Contestant:
    """Results of the S trainings of one model; N test examples, K classes."""

    name: str
    losses: tuple[float, ...]
    """On the validation split, in nats."""
    merits: tuple[float, ...]
    """What models are ranked by on the validation split, higher is better."""
    logits_SNK: np.ndarray
    """On the test split."""


@dataclass(frozen=True)
class Standing:
    """Test figures of one model; shares in [0, 1]."""

    name: str
    accuracies: tuple[float, ...]
    """Of each training."""
    accuracy: float
    """Their mean."""
    interval: tuple[float, float]
    """Of the mean: 95 %, over trainings and examples."""
    eer: float
    """Equal error rate, mean over the trainings."""
    loss: float
    """On the validation split, mean over the trainings."""
    behind: float
    """The best model's mean accuracy less this one's."""
    behind_interval: tuple[float, float]
    """95 %, over trainings and examples, which the two have in common."""
    p: float
    """McNemar's test against the best model: that both are equally often right, trainings pooled pair by pair; NaN for the
    best."""

    @property
    def is_best(self) -> bool:
        return self.p != self.p


def stand(contestants: Sequence[Contestant], labels_N: np.ndarray) -> list[Standing]:
    """All models, highest accuracy first.

    The others are compared with the best, the model with the highest mean merit. A model chosen by test accuracy would partly
    be the luckiest one there.
    """
    right = [one.logits_SNK.argmax(2) == labels_N for one in contestants]
    draws = resampled_means(right)
    best = int(np.argmax([np.mean(one.merits) for one in contestants]))
    standings = []
    for place, one in enumerate(contestants):
        accuracies = tuple(map(float, right[place].mean(1)))
        pairs = min(len(right[place]), len(right[best]))
        standings.append(
            Standing(
                name=one.name,
                accuracies=accuracies,
                accuracy=float(np.mean(accuracies)),
                interval=percentile_interval(draws[place]),
                eer=float(np.mean([metrics.eer(logits, labels_N) for logits in one.logits_SNK])),
                loss=float(np.mean(one.losses)),
                behind=float(right[best].mean() - right[place].mean()),
                behind_interval=percentile_interval(draws[best] - draws[place]) if place != best else (0.0, 0.0),
                p=mcnemar(right[best][:pairs].ravel(), right[place][:pairs].ravel()) if place != best else float("nan"),
            )
        )
    return sorted(standings, key=lambda standing: -standing.accuracy)


def schedule(
    begun: Iterable[Proposal], towers: Mapping[str, Architecture], times: int, work: Mapping[str, int]
) -> tuple[Proposal, ...]:
    """Proposals that train every model so many times; the mutation of each is its model's name.

    Trainings that were begun come first, in their order. The missing ones follow in rounds of all models.

    Args:
        work: of one training of each model, in any unit; within a round the largest comes first, so that groups end together.
    """
    done = list(begun)
    counts = {name: sum(proposal.mutation == name for proposal in done) for name in towers}
    names = sorted(towers, key=lambda name: -work[name])
    missing = [Proposal(towers[name], None, name) for turn in range(times) for name in names if counts[name] <= turn]
    return (*done, *missing)
