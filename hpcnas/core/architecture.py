"""What is searched: a tower of blocks from the features to the classifier.

Mazzawi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1916), write B(a)(x) = B_ak(...B_a1(x)) with a in [n]^k; an
``Architecture`` is that word a, its letters spelled out. No network is made here, see ``nn/model.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from hpcnas.core.errors import ArchitectureError

_BLOCK = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)(:(?P<settings>.+))?")
_SETTING = re.compile(r"(?P<name>[a-z][a-z0-9_]*)=(?P<value>\d+)")


@dataclass(frozen=True)
class Block:
    """One layer group of a tower: a kind from the block table and its settings, sorted by name.

    ``str(block)``, such as ``svdf:filters=64,memory=16``, is its only spelling: configuration, journal, messages, logs and
    archive all use it. A search has few blocks and many towers, so that each block is spelled and parsed once.
    """

    kind: str
    settings: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", tuple(sorted(self.settings)))

    def __str__(self) -> str:
        return self._spelling

    def __hash__(self) -> int:
        return hash(self._spelling)

    @cached_property
    def _spelling(self) -> str:
        if not self.settings:
            return self.kind
        return self.kind + ":" + ",".join(f"{name}={value}" for name, value in self.settings)

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, text: str) -> Block:
        """The block that ``text`` spells; raises ArchitectureError."""
        match = _BLOCK.fullmatch(text.strip())
        if not match:
            raise ArchitectureError(f'block "{text}": expected kind:name=value,name=value')
        settings = []
        for part in match["settings"].split(",") if match["settings"] else ():
            setting = _SETTING.fullmatch(part.strip())
            if not setting:
                raise ArchitectureError(f'block "{text}": setting "{part}" is not name=number')
            settings.append((setting["name"], int(setting["value"])))
        if len(dict(settings)) != len(settings):
            raise ArchitectureError(f'block "{text}": a setting is given twice')
        return cls(match["kind"], tuple(settings))


@dataclass(frozen=True)
class Architecture:
    """A tower of at least one block; hashable, with one spelling: its blocks joined by ``/``."""

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ArchitectureError("an architecture needs at least one block")

    def __str__(self) -> str:
        return self._spelling

    def __hash__(self) -> int:
        return hash(self._spelling)

    def __reduce__(self) -> tuple[Callable[[str], Architecture], tuple[str]]:
        return Architecture.parse, (self._spelling,)

    @cached_property
    def _spelling(self) -> str:
        return "/".join(map(str, self.blocks))

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """The architecture that ``text`` spells; raises ArchitectureError."""
        return cls(tuple(map(Block.parse, text.split("/"))))
