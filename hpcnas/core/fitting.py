"""Scaling a tower in width until it keeps the limits, instead of refusing it.

All widths change together, as by the width multiplier of MobileNets (Howard et al., 2017, arXiv:1704.04861). Each becomes a
value that the space allows. Under a small limit nearly every step from a good tower exceeds it, and an engineer would then try
a narrower tower of the same shape.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate

from hpcnas.core.architecture import Architecture, Stage
from hpcnas.core.space import SearchSpace

STEPS_PER_OCTAVE = 8
"""Factors that are tried between a width and its half."""
OCTAVES = 5
"""A tower shrinks to a thirty-second of its width at most."""
OCTAVES_UP = 2
"""And is widened to four times it at most."""


def scaled(tower: Architecture, space: SearchSpace, factor: float) -> Architecture:
    """The tower with all widths times ``factor``, each rounded down to one of the space's values, or the least of them."""
    return tower if factor == 1 else Architecture.of(_scaled(stage, space, factor) for stage in tower.stages)


def shrunk(tower: Architecture, space: SearchSpace, fits: Callable[[Architecture], bool]) -> Architecture | None:
    """The tower if it ``fits``, else the widest scaled one that does, with single stages wider again; None if none does."""
    if fits(tower):
        return tower
    steps = range(-1, -OCTAVES * STEPS_PER_OCTAVE - 1, -1)
    place = _widest(tower, space, fits, steps)
    return None if place == len(steps) else _filled(_stepped(tower, space, steps[place]), tower, space, fits)


def widened(tower: Architecture, space: SearchSpace, fits: Callable[[Architecture], bool]) -> Architecture | None:
    """The tower scaled to the greatest width that ``fits``, with single stages wider still; the tower itself may exceed a
    limit."""
    if not fits(tower):
        return shrunk(tower, space, fits)
    steps = range(OCTAVES_UP * STEPS_PER_OCTAVE, -1, -1)
    place = _widest(tower, space, fits, steps[:-1])
    found = _stepped(tower, space, steps[place])
    return found if place == 0 else _filled(found, _stepped(tower, space, steps[0]), space, fits)


def _stepped(tower: Architecture, space: SearchSpace, step: int) -> Architecture:
    return scaled(tower, space, 2 ** (step / STEPS_PER_OCTAVE))


def _widest(tower: Architecture, space: SearchSpace, fits: Callable[[Architecture], bool], steps: range) -> int:
    """The place of the first of ``steps``, which go down, at which the tower fits; their number if it does at none.

    By bisection: costs fall with the width but for a shortcut that comes or goes.
    """
    return bisect_left(steps, True, key=lambda step: fits(_stepped(tower, space, step)))


def _filled(
    fitting: Architecture, tower: Architecture, space: SearchSpace, fits: Callable[[Architecture], bool]
) -> Architecture:
    """``fitting`` with single stages wider again, up to their width in ``tower``: always the one that lost most, while it fits.

    Widths of few values would leave half of a small limit unused: BC-ResNet-1, a sixtieth over 10k parameters, came to 4.1k.
    """
    ends = list(accumulate(stage.count for stage in tower.stages))
    # Those of the tower, of which some may have become alike; a stage's first block has its stride, further ones go without.
    stages = [Stage(fitting.blocks[end - stage.count], stage.count) for stage, end in zip(tower.stages, ends)]
    full = [_width(stage, space) for stage in tower.stages]
    open_ = {place for place, width in enumerate(full) if width and _width(stages[place], space) < width}
    while open_:
        place = min(open_, key=lambda place: (_width(stages[place], space) / full[place], place))
        kind = space.type_of(stages[place].block.kind)
        assert kind is not None, "only stages with a width are open"
        wider = [*neighbours(_width(stages[place], space), kind.choices[kind.width])[-1:], full[place]]
        value = min(value for value in wider if value > _width(stages[place], space))
        candidate = [*stages]
        candidate[place] = Stage(stages[place].block.changed(kind.width, value), stages[place].count)
        if fits(Architecture.of(candidate)):
            stages = candidate
        if stages is not candidate or value == full[place]:
            open_.remove(place)
    return Architecture.of(stages)


def _width(stage: Stage, space: SearchSpace) -> int:
    """0 for a stage without one."""
    kind = space.type_of(stage.block.kind)
    return dict(stage.block.settings)[kind.width] if kind is not None and kind.width else 0


def _scaled(stage: Stage, space: SearchSpace, factor: float) -> Stage:
    block = stage.block
    kind = space.type_of(block.kind)
    if kind is None or not kind.width:
        return stage
    width, choices = dict(block.settings)[kind.width], sorted(kind.choices[kind.width])
    nearest = choices[max(0, bisect_right(choices, width * factor + 1e-6) - 1)]
    value = min(width, nearest) if factor < 1 else max(width, nearest)
    return Stage(block.changed(kind.width, value), stage.count)


def neighbours(value: int, choices: tuple[int, ...]) -> list[int]:
    """The next lower and the next higher of the choices, where there are such."""
    ordered = sorted(choices)
    below, above = bisect_left(ordered, value), bisect_right(ordered, value)
    return [*ordered[max(0, below - 1) : below], *ordered[above : above + 1]]
