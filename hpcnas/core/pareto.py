"""Dominance between trials that are judged by score (higher is better) and cost (lower is better)."""

from __future__ import annotations

from collections.abc import Sequence

from hpcnas.core.trial import Result


def pareto_front(results: Sequence[Result]) -> list[Result]:
    """Results that no other one beats in score at the same or fewer parameters, smallest first."""
    front: list[Result] = []
    for result in sorted(results, key=lambda r: (r.cost.params, -r.score, r.trial)):
        if not front or result.score > front[-1].score:
            front.append(result)
    return front
