"""Which blocks a search may use, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.errors import ArchitectureError

WIDTHS = ("channels", "units", "filters", "dim")
"""Settings that say how wide a block is."""


_LADDER = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)


def widths(least: int, most: int) -> tuple[int, ...]:
    """Choices of width. They are close together, since parameters grow with their square and a limit on size must be met."""
    return tuple(width for width in _LADDER if least <= width <= most)


@dataclass(frozen=True)
class BlockType:
    """A kind of block: what it works on and the values that each of its settings may take.

    Args:
        layout: ``"sequence"`` (B, C, T), ``"plane"`` (B, C, F, T), or ``"any"``; the model adapts what comes in.
        choices: the settings and the values that are searched unless the configuration names others.
        description: what the block computes, and its source.
    """

    kind: str
    layout: str
    choices: Mapping[str, tuple[int, ...]]
    description: str
    causal: bool = True
    """Whether it can be built so that no output depends on a later frame."""
    folds: bool = False
    """Whether a plane becomes a sequence in it."""

    @property
    def width(self) -> str:
        """The setting that says how wide the block is; empty if none does."""
        return next((name for name in WIDTHS if name in self.choices), "")

    def narrowed(self, text: str) -> BlockType:
        """This type with the values that ``text``, such as ``svdf:filters=64|128``, allows.

        Settings that the text does not name keep their choices. Any positive value may be named (and 0, where it is a
        choice): the choices are defaults, not limits.
        """
        _, _, rest = text.partition(":")
        choices = dict(self.choices)
        for part in rest.split(",") if rest else ():
            name, _, values = part.strip().partition("=")
            if name not in choices:
                raise ArchitectureError(f'block "{text}": unknown setting "{name}"; known: {", ".join(choices)}')
            if not all(value.strip().isdigit() for value in values.split("|")):
                raise ArchitectureError(f'block "{text}": {name}={values} is not a number, or numbers joined by "|"')
            choices[name] = tuple(int(value) for value in values.split("|"))
            self.check(name, choices[name], text)
        return replace(self, choices=choices)

    def check(self, name: str, values: Sequence[int], text: str) -> None:
        """Refuse settings that cannot be built."""
        least = min(self.choices[name])
        if min(values) < min(least, 1):
            raise ArchitectureError(f'block "{text}": {name} must be at least {min(least, 1)}')

    def complete(self, block: Block) -> Block:
        """``block`` with every setting present, the first choice where it names none; raises ArchitectureError."""
        given = dict(block.settings)
        for name, value in given.items():
            if name not in self.choices:
                raise ArchitectureError(f'block "{block}": unknown setting "{name}"; known: {", ".join(self.choices)}')
            self.check(name, (value,), str(block))
        return Block(self.kind, tuple((name, given.get(name, values[0])) for name, values in self.choices.items()))

    def sample(self, rng: np.random.Generator) -> Block:
        """A block of this kind, every setting drawn uniformly."""
        return _block(self.kind, tuple([(name, values[rng.integers(len(values))]) for name, values in self.choices.items()]))

    def admits(self, block: Block) -> bool:
        settings = dict(block.settings)
        return settings.keys() == self.choices.keys() and all(settings[n] in v for n, v in self.choices.items())


_block = lru_cache(maxsize=4096)(Block)
"""Blocks that are drawn again are the same object, which spells itself once."""


@dataclass(frozen=True)
class SearchSpace:
    """The block set B of a run: all towers of these blocks up to ``max_depth``."""

    types: tuple[BlockType, ...]
    max_depth: int
    fit: bool = False
    """Whether a tower over the limits is scaled in width until it keeps them, instead of being refused."""
    others: tuple[BlockType, ...] = ()
    """Types that only suggestions may have. No such block is drawn; they are here so that suggestions can be varied."""

    def sample(self, rng: np.random.Generator) -> Block:
        """Random(|B|): one block.

        differs: the paper draws uniformly from a flat list of blocks. Here a kind is drawn first and then its
        settings, so that a kind with many settings does not crowd out the others; a flat list is spelled by naming
        each of its blocks.
        """
        return self.types[rng.integers(len(self.types))].sample(rng)

    def type_of(self, kind: str) -> BlockType | None:
        """The type called ``kind``; None if it is not known."""
        return next((one for one in (*self.types, *self.others) if one.kind == kind), None)

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture.depth <= self.max_depth and all(
            any(kind.kind == block.kind and kind.admits(block) for kind in self.types) for block in architecture.blocks
        )


def spell(text: str, known: Mapping[str, BlockType]) -> Architecture:
    """The architecture that ``text`` spells, every setting filled in; raises ArchitectureError for unknown blocks."""
    return Architecture(tuple(known_type(block.kind, known).complete(block) for block in Architecture.parse(text).blocks))


def known_type(kind: str, known: Mapping[str, BlockType]) -> BlockType:
    """The type called ``kind``; raises ArchitectureError with the list of known ones."""
    if kind not in known:
        raise ArchitectureError(f'unknown block "{kind}"; known: {", ".join(sorted(known))}')
    return known[kind]
