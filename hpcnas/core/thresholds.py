"""A threshold for each keyword. All together they give no more false alarms than allowed, and miss as few keywords as they can.

The false alarms are one budget for all keywords. It is spent where it saves the most misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpcnas.core.false_alarms import LOWEST, Heard, supports


@dataclass(frozen=True)
class Thresholds:
    """What a model's scores must reach, and how that was found.

    Args:
        keywords: by name, each one's; empty where classes are no keywords, or no audio is without them.
        false_alarms_per_hour: of all keywords together, that were to be expected.
        hours: without keywords, in which they were chosen.
        weights: digest of the model's.
        temperature: by which logits are divided before they become scores, so that these are probabilities.
        none_below: an answer of a lower probability is "none of these", where no class stands for all others.
    """

    keywords: Mapping[str, float]
    false_alarms_per_hour: float
    hours: float
    weights: str
    temperature: float = 1.0
    none_below: float = 0.0

    @property
    def is_supported(self) -> bool:
        """Whether the hours can tell that rate."""
        return supports(self.hours, self.false_alarms_per_hour)


def chosen(heard: Heard, rate: float) -> dict[int, float]:
    """The threshold of each keyword that was spoken, at ``rate`` false alarms an hour of all together."""
    own = {keyword: heard.of_keyword(keyword) for keyword in np.unique(heard.spoken).tolist()}
    spent = _spent({keyword: _gains(one) for keyword, one in own.items()}, int(np.floor(rate * heard.alarms.hours + 1e-9)))
    return {keyword: _threshold(one, spent[keyword]) for keyword, one in own.items()}


def _gains(one: Heard) -> np.ndarray:
    """(A + 1,) keywords that are heard once so many false alarms are let through."""
    refused = np.append(np.sort(one.alarms.scores)[::-1], -np.inf)
    return len(one.hits) - np.searchsorted(np.sort(one.hits), refused, "right")


def _spent(gains: Mapping[int, np.ndarray], budget: int) -> dict[int, int]:
    """How many false alarms each keyword lets through: again and again those that save most misses for each of them."""
    spent = dict.fromkeys(gains, 0)
    while budget:
        best_slope, best, more = 0.0, None, 0
        for keyword, heard in gains.items():
            now = spent[keyword]
            slopes = (heard[now + 1 : now + 1 + budget] - heard[now]) / np.arange(1, min(budget, len(heard) - now - 1) + 1)
            if len(slopes) and slopes.max() > best_slope:
                best_slope, best, more = slopes.max(), keyword, int(slopes.argmax()) + 1
        if best is None:
            break
        spent[best], budget = spent[best] + more, budget - more
    return spent


def _threshold(one: Heard, alarms: int) -> float:
    """Half way between the loudest false alarm that is refused and the faintest keyword above it."""
    loudest = np.append(np.sort(one.alarms.scores)[::-1], LOWEST)
    refused = loudest[alarms]
    heard = one.hits[one.hits > refused]
    least = np.nextafter(refused, np.inf)
    return float(max((refused + heard.min()) / 2, least) if len(heard) else least)
