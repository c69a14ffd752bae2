"""What is searched: a tower of blocks from the features to the classifier.

Mazzawi et al., Interspeech 2019 (doi:10.21437/Interspeech.2019-1916), write B(a)(x) = B_ak(...B_a1(x)) with a in [n]^k; an
``Architecture`` is that word a, its letters spelled out. No network is made here, see ``nn/model.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from hpcnas.core.errors import ArchitectureError

_BLOCK = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)(:(?P<settings>.+))?")
_STAGE = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)\*(?P<count>[1-9]\d{0,4})(?P<rest>(:.*)?)")
_SETTING = re.compile(r"(?P<name>[a-z][a-z0-9_]*)=(?P<value>\d+)")


@dataclass(frozen=True)
class Block:
    """One layer group of a tower: a kind from the block table and its settings, sorted by name.

    ``str(block)``, such as ``svdf:filters=64,memory=16``, is its only spelling: configuration, journal, messages, logs and
    archive all use it. A search has few blocks and many towers, so each block is spelled and parsed once only.
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
            raise ArchitectureError(f'block "{text}": expected kind:name=value,name=value, or kind*2:... for two of them')
        settings = []
        for part in match["settings"].split(",") if match["settings"] else ():
            setting = _SETTING.fullmatch(part.strip())
            if not setting:
                raise ArchitectureError(f'block "{text}": setting "{part}" is not name=number')
            settings.append((setting["name"], int(setting["value"])))
        if len(dict(settings)) != len(settings):
            raise ArchitectureError(f'block "{text}": a setting is given twice')
        return cls(match["kind"], tuple(settings))

    @property
    def repeated(self) -> Block:
        """The block that follows this one in a stage of repetitions: the same without its stride, which is taken once."""
        if ("stride", 1) in self.settings or not any(name == "stride" for name, _ in self.settings):
            return self
        return self.changed("stride", 1)

    def changed(self, name: str, value: int) -> Block:
        """The same with another value of one setting."""
        return Block(self.kind, tuple((n, value if n == name else v) for n, v in self.settings))


@dataclass(frozen=True)
class Stage:
    """A block and its repetitions. ``bcres*4:channels=16,dilation=2,stride=2`` stands for four blocks: the first has the
    stride, the others have stride 1."""

    block: Block
    count: int = 1

    def __str__(self) -> str:
        if self.count == 1:
            return str(self.block)
        kind, colon, settings = str(self.block).partition(":")
        return f"{kind}*{self.count}{colon}{settings}"

    @property
    def blocks(self) -> tuple[Block, ...]:
        return (self.block, *[self.block.repeated] * (self.count - 1))

    @classmethod
    def parse(cls, text: str) -> Stage:
        """The stage that ``text`` spells; raises ArchitectureError."""
        match = _STAGE.fullmatch(text.strip())
        return cls(Block.parse(match["kind"] + match["rest"]), int(match["count"])) if match else cls(Block.parse(text))


@dataclass(frozen=True)
class Architecture:
    """A tower of at least one block; hashable, with one spelling: its stages joined by ``/``."""

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
        return "/".join(map(str, self.stages))

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks, each with the repetitions that follow it."""
        stages: list[Stage] = []
        for block in self.blocks:
            if stages and block == stages[-1].block.repeated:
                stages[-1] = Stage(stages[-1].block, stages[-1].count + 1)
            else:
                stages.append(Stage(block))
        return tuple(stages)

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """The architecture that ``text`` spells; raises ArchitectureError."""
        return cls.of(map(Stage.parse, text.split("/")))

    @classmethod
    def of(cls, stages: Iterable[Stage]) -> Architecture:
        """The tower of these stages."""
        return cls(tuple(block for stage in stages for block in stage.blocks))
