"""The worst beside the mean: of conditions and of groups."""

from __future__ import annotations

import numpy as np
import pytest

from hpcnas.core.significance import share_interval
from hpcnas.core.worst import LEAST, by_group, under_conditions


def right(count: int, of: int) -> np.ndarray:
    return np.arange(of) < count


def test_conditions_are_paired_with_the_recordings_as_they_are():
    clean = right(90, 100)
    found = under_conditions(clean, {"noise": right(60, 100), "quiet": clean}, ["rooms: none"])
    assert found.clean.value == 0.9 and found.worst.share.name == "noise" and found.worst.change == pytest.approx(-0.3)
    assert found.worst.p < 1e-6 and found.rows[1].p == 1.0 and found.rows[1].change == 0.0
    assert found.mean.value == pytest.approx(0.75) and found.mean.interval[0] < 0.75 < found.mean.interval[1]
    assert found.worst.share.interval == share_interval(0.6, 100) and found.untold == ["rooms: none"]


def test_groups_with_too_few_recordings_are_no_figures():
    names = ["a"] * LEAST + ["b"] * 2 * LEAST + ["c"] * (LEAST - 1) + [""] * 5
    is_right = np.concatenate([right(LEAST, LEAST), right(LEAST, 2 * LEAST), right(0, LEAST - 1), right(0, 5)])
    found = by_group("speaker", is_right, names)
    assert [(row.name, row.value, row.count) for row in found.rows] == [("b", 0.5, 2 * LEAST), ("a", 1.0, LEAST)]
    assert (found.few, found.unknown, found.mean) == (1, 5, 0.75)
    plain = share_interval(0.5, 2 * LEAST)
    assert found.worst.interval[0] < plain[0] and plain[1] < found.worst.interval[1], "it was chosen for being the worst"


def test_one_group_or_none_is_nothing_to_compare():
    assert by_group("accent", right(3, 4), ["a", "a", "", ""]) is None
    assert by_group("accent", right(3, 4), [""] * 4) is None
    few = by_group("accent", right(3, 4), ["a", "b", "b", ""])
    assert few.rows == [] and few.few == 2
