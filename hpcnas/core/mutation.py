"""Steps from one architecture to the next: architecture in, architecture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

import numpy as np

from hpcnas.core.architecture import Architecture, Block, Stage
from hpcnas.core.fitting import neighbours, scaled
from hpcnas.core.space import SearchSpace

Step = Callable[[Architecture, SearchSpace, np.random.Generator], tuple[Architecture, str] | None]
"""To a neighbour of a tower, with the step's name; None where it cannot be taken."""


def grow(architecture: Architecture, block: Block) -> Architecture:
    """Extend(a, u) of the paper's Algorithm 2: ``block`` on top, before the classifier."""
    return replace(architecture, blocks=(*architecture.blocks, block))


def insert(architecture: Architecture, index: int, block: Block) -> Architecture:
    """``block`` in front of the one at ``index``."""
    blocks = architecture.blocks
    return replace(architecture, blocks=(*blocks[:index], block, *blocks[index:]))


def remove(architecture: Architecture, index: int) -> Architecture:
    """Without the block at ``index``."""
    blocks = architecture.blocks
    return replace(architecture, blocks=(*blocks[:index], *blocks[index + 1 :]))


def swap(architecture: Architecture, index: int, block: Block) -> Architecture:
    """b <- a; b_i <- u of the paper's Algorithm 2: ``block`` in place of the one at ``index``."""
    blocks = list(architecture.blocks)
    blocks[index] = block
    return replace(architecture, blocks=tuple(blocks))


def random_tower(space: SearchSpace, depth: int, rng: np.random.Generator) -> Architecture:
    """``depth`` random blocks, or as many as the space allows."""
    return Architecture(tuple(space.sample(rng) for _ in range(min(depth, space.max_depth))))


def grafted(front: Architecture, tail: Architecture, space: SearchSpace, rng: np.random.Generator) -> Architecture | None:
    """The first stages of ``front``, which work on planes; a block that folds the bands; the last stages of ``tail``, which
    work on frames alone. The number of stages and of their repetitions is drawn. None if one tower has no such stages, or if
    the result would be too deep."""
    planes = list(takewhile(lambda stage: _layout(stage, space) == "plane", front.stages))
    sequences = list(takewhile(lambda stage: _layout(stage, space) == "sequence", reversed(tail.stages)))[::-1]
    if not (planes and sequences):
        return None
    folds = [kind for kind in space.types if kind.folds]
    fold = [Stage(folds[rng.integers(len(folds))].sample(rng))] if folds else []
    first, last = planes[: rng.integers(len(planes)) + 1], sequences[rng.integers(len(sequences)) :]
    fewer = [replace(stage, count=int(rng.integers(stage.count)) + 1) for stage in (*first, *last)]
    tower = Architecture.of((*fewer[: len(first)], *fold, *fewer[len(first) :]))
    return tower if tower.depth <= space.max_depth else None


def _layout(stage: Stage, space: SearchSpace) -> str:
    """What a stage works on and gives: ``plane``, ``sequence``, or neither alone."""
    kind = space.type_of(stage.block.kind)
    return "" if kind is None or kind.folds else kind.layout


def random_mutation(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str]:
    """One random step and its name: with equal chance a block replaced, inserted or, of several, removed."""
    steps: list[Step] = [_swapped]
    steps += [_inserted] if architecture.depth < space.max_depth else []
    steps += [_removed] if architecture.depth > 1 else []
    taken = steps[rng.integers(len(steps))](architecture, space, rng)
    assert taken is not None, "each of these can be taken"
    return taken


def nudge(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    """One setting of one stage moved to its neighbour among the space's values; None if none can be."""
    moves = []
    for place, stage in enumerate(architecture.stages):
        kind = space.type_of(stage.block.kind)
        if kind is None:
            continue
        for name, value in stage.block.settings:
            moves += [(place, name, value, to) for to in neighbours(value, kind.choices.get(name, ()))]
    if not moves:
        return None
    place, name, value, to = moves[rng.integers(len(moves))]
    stage = architecture.stages[place]
    return _restaged(architecture, place, replace(stage, block=stage.block.changed(name, to))), f"{name} {place} {value}>{to}"


def repeat(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    """One block that has a width repeated once more, without its strides; None where the tower is as deep as may be."""
    stages = architecture.stages
    places = [place for place, stage in enumerate(stages) if _is_repeatable(stage, space)]
    if architecture.depth >= space.max_depth or not places:
        return None
    place = places[rng.integers(len(places))]
    further = stages[place].block
    # Blocks of a stage that is spelled with "*" drop "stride" alone, and journals hold such spellings.
    for name in ("stride", "band_stride", "frame_stride"):
        further = further.changed(name, 1)
    return Architecture.of((*stages[: place + 1], Stage(further), *stages[place + 1 :])), f"repeat {place}"


def unrepeat(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    """One repetition taken back; None where nothing is repeated."""
    repeated = [place for place, stage in enumerate(architecture.stages) if stage.count > 1]
    if not repeated:
        return None
    place = repeated[rng.integers(len(repeated))]
    stage = architecture.stages[place]
    return _restaged(architecture, place, replace(stage, count=stage.count - 1)), f"unrepeat {place}"


def exchange(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    """Two neighbouring stages exchanged; None where there is but one."""
    stages = list(architecture.stages)
    if len(stages) < 2:
        return None
    place = int(rng.integers(len(stages) - 1))
    stages[place], stages[place + 1] = stages[place + 1], stages[place]
    return Architecture.of(stages), f"exchange {place}"


def rescale(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    """All widths up or down by between a quarter of an octave and one octave; None if no width changes.

    A tower that becomes too wide ends up as wide as the limits allow, since proposals are fitted to the limits."""
    factor = 2.0 ** (rng.choice((-1, 1)) * rng.integers(1, 5) / 4)
    tower = scaled(architecture, space, factor)
    return None if tower == architecture else (tower, f"widths x {factor:.2g}")


def _is_repeatable(stage: Stage, space: SearchSpace) -> bool:
    """Two pools are a larger pool, and what folds the bands leaves none to fold."""
    kind = space.type_of(stage.block.kind)
    return kind is not None and bool(kind.width) and not kind.folds


def _restaged(architecture: Architecture, place: int, stage: Stage) -> Architecture:
    stages = architecture.stages
    return Architecture.of((*stages[:place], stage, *stages[place + 1 :]))


def _inserted(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    if architecture.depth >= space.max_depth:
        return None
    place = int(rng.integers(architecture.depth + 1))
    return insert(architecture, place, space.sample(rng)), f"insert {place}"


def _removed(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str] | None:
    if architecture.depth == 1:
        return None
    place = int(rng.integers(architecture.depth))
    return remove(architecture, place + _leads_stage(architecture, place)), f"remove {place}"


def _swapped(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str]:
    place = int(rng.integers(architecture.depth))
    block = space.sample(rng)
    if _leads_stage(architecture, place):
        architecture = swap(architecture, place + 1, architecture.blocks[place])
    return swap(architecture, place, block), f"swap {place}"


def _leads_stage(architecture: Architecture, place: int) -> bool:
    """Whether the block at ``place`` has the stride of repetitions that follow: what is left of a stage keeps it."""
    blocks = architecture.blocks
    return place + 1 < len(blocks) and blocks[place + 1] == blocks[place].repeated


FINE_STEPS: dict[str, Step] = {
    "nudge": nudge,
    "repeat": repeat,
    "unrepeat": unrepeat,
    "exchange": exchange,
    "rescale": rescale,
    "insert": _inserted,
    "remove": _removed,
    "swap": _swapped,
}
"""Steps from a tower to its neighbours, by name; each answers None where it cannot be taken."""


def fine_step(architecture: Architecture, space: SearchSpace, rng: np.random.Generator) -> tuple[Architecture, str]:
    """One of the fine steps, with equal chance among those that can be taken and leave the order of layouts alone, and its
    name."""
    steps = list(FINE_STEPS.values())
    before = disorder(architecture, space)
    while True:
        taken = steps[rng.integers(len(steps))](architecture, space, rng)
        if taken is not None and disorder(taken[0], space) <= before:
            return taken


def fine_steps(
    architecture: Architecture, space: SearchSpace, rng: np.random.Generator, at_least: int, further: float = 0.0
) -> tuple[Architecture, str]:
    """So many fine steps one after another; another one follows with probability ``further``, and so on."""
    names: list[str] = []
    while len(names) < at_least or rng.random() < further:
        architecture, name = fine_step(architecture, space, rng)
        names.append(name)
    return architecture, " + ".join(names)


def steps_away(refused: int) -> int:
    """How many steps a proposal takes: one, and one more for every twenty refused proposals before it."""
    return 1 + refused // 20


def disorder(architecture: Architecture, space: SearchSpace) -> int:
    """How many blocks work on planes, or fold them, behind one that has made a sequence of them: such see channels as bands."""
    found, is_sequence = 0, False
    for block in architecture.blocks:
        kind = space.type_of(block.kind)
        if kind is None or kind.layout == "any":
            continue
        found += is_sequence and kind.layout == "plane"
        is_sequence |= kind.folds or kind.layout == "sequence"
    return found


def crossover(first: Architecture, second: Architecture, space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """The first stages of one tower and the last of the other, cut at random places, no deeper than the space allows and with
    no more disorder than the two have; where no cuts are such, the first blocks of the first."""
    most = max(disorder(first, space), disorder(second, space))
    joined = []
    for head in range(1, len(first.stages) + 1):
        for tail in range(len(second.stages)):
            tower = Architecture.of((*first.stages[:head], *second.stages[tail:]))
            if tower.depth <= space.max_depth and tower not in (first, second) and disorder(tower, space) <= most:
                joined.append(tower)
    return joined[rng.integers(len(joined))] if joined else Architecture(first.blocks[: space.max_depth])


def matching_blocks(child: Architecture, parent: Architecture, behind: bool) -> dict[int, int]:
    """Which block of ``parent`` each block of ``child`` may inherit from, by index.

    The leading blocks that are equal in both (the paper's Fig. 2: the first mismatch is the boundary), and with
    ``behind`` also the trailing ones, so that a mutation leaves the blocks on both of its sides alone.
    """
    shorter = min(child.depth, parent.depth)
    leading = 0
    while leading < shorter and child.blocks[leading] == parent.blocks[leading]:
        leading += 1
    pairs = {i: i for i in range(leading)}
    if behind:
        trailing = 0
        while trailing < shorter - leading and child.blocks[-1 - trailing] == parent.blocks[-1 - trailing]:
            trailing += 1
            pairs[child.depth - trailing] = parent.depth - trailing
    return pairs


def aligned_blocks(child: Architecture, parent: Architecture) -> dict[int, int]:
    """Which block of ``parent`` each block of ``child`` descends from, whatever became of its settings.

    The alignment of the two towers with the most in common (Needleman & Wunsch, 1970, doi:10.1016/0022-2836(70)90057-4): blocks
    of one kind match, the more of their settings are equal the better.
    """
    ours, theirs = child.blocks, parent.blocks
    best = np.zeros((len(ours) + 1, len(theirs) + 1))
    for i in range(len(ours) - 1, -1, -1):
        for j in range(len(theirs) - 1, -1, -1):
            best[i, j] = max(best[i + 1, j], best[i, j + 1], _likeness(ours[i], theirs[j]) + best[i + 1, j + 1])
    pairs: dict[int, int] = {}
    i = j = 0
    while i < len(ours) and j < len(theirs):
        likeness = _likeness(ours[i], theirs[j])
        if likeness and best[i, j] == likeness + best[i + 1, j + 1]:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(one: Block, other: Block) -> float:
    """0 for different kinds, 4 for equal blocks."""
    if one.kind != other.kind:
        return 0.0
    if one == other:
        return 4.0
    shared = set(one.settings) & set(other.settings)
    return 1 + len(shared) / max(1, len(one.settings))
