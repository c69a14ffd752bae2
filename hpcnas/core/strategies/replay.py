"""Given architectures and no others: to try by hand what others found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ArchitectureError, ConfigError
from hpcnas.core.space import SearchSpace
from hpcnas.core.trial import Proposal


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Trial i is ``architectures[i]``, from the first again after the last; others in the space or not, they are tried."""

    architectures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.architectures:
            raise ConfigError('strategy.architectures is empty; name at least one, such as "gru:units=64/dense:units=64"')
        for number, text in enumerate(self.architectures):
            try:
                Architecture.parse(text)
            except ArchitectureError as error:
                raise ConfigError(f"strategy.architectures[{number}]: {error}") from error

    def propose(self, archive: Archive, space: SearchSpace, rng: np.random.Generator, refused: int = 0) -> Proposal:
        text = self.architectures[archive.next_id % len(self.architectures)]
        return Proposal(Architecture.parse(text), None, "replay", again=True)
