"""Dominance between trials that are judged by score (higher is better) and cost (lower is better)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcnas.core.trial import Result


def pareto_front(results: Sequence[Result], cost: str = "params") -> list[Result]:
    """The Pareto front, smallest first: no other result has a higher score at the same or lower cost.

    Args:
        cost: the field of ``Cost`` that counts.
    """
    front: list[Result] = []
    for result in sorted(results, key=lambda r: (getattr(r.cost, cost), -r.score, r.trial)):
        if not front or result.score > front[-1].score:
            front.append(result)
    return front


def objectives(result: Result) -> tuple[float, float, float]:
    """What is traded off, each to be small: error, parameters, multiply-accumulates."""
    return 1 - result.score, result.cost.params, result.cost.macs


def ranks(points: np.ndarray) -> np.ndarray:
    """(N,) front of each of (N, D) points: 0 if nothing dominates the point, 1 if only points of front 0 do, and so on."""
    no_worse = (points[:, None] <= points[None]).all(-1)
    dominates = np.asarray(no_worse & (points[:, None] < points[None]).any(-1))
    rank = np.full(len(points), -1)
    front = 0
    while (left := rank < 0).any():
        rank[left & ~dominates[left].any(0)] = front
        front += 1
    return rank


def crowding(points: np.ndarray) -> np.ndarray:
    """(N,) crowding distance of (N, D) points: how far apart the neighbours are in each dimension, summed."""
    total = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        spread = max(column[order[-1]] - column[order[0]], 1e-12)
        total[order[[0, -1]]] = np.inf
        total[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return total
