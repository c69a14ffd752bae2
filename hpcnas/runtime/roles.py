"""How many groups a number of ranks makes."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.errors import LaunchError


@dataclass(frozen=True)
class Roles:
    """Rank 0 coordinates, the others train in groups; a single rank does both."""

    ranks: int
    group_size: int

    def __post_init__(self) -> None:
        if self.trainers < self.group_size:
            raise LaunchError(
                f"search.group_size = {self.group_size} needs at least {self.group_size + 1} ranks (one coordinates), "
                f"this job has {self.ranks}; start more, or set search.group_size"
            )

    @property
    def alone(self) -> bool:
        return self.ranks == 1

    @property
    def trainers(self) -> int:
        return max(1, self.ranks - 1)

    @property
    def groups(self) -> int:
        """At the start."""
        return self.trainers // self.group_size
