"""Which rank does what, from the number of ranks and the group size alone."""

from __future__ import annotations

from dataclasses import dataclass

from hpcnas.core.errors import LaunchError


@dataclass(frozen=True)
class Roles:
    """Rank 0 coordinates; groups are consecutive ranks, so that each stays on as few nodes as possible.

    With one rank in all, it coordinates and is the only group.
    """

    ranks: int
    group_size: int

    def __post_init__(self) -> None:
        trainers = max(1, self.ranks - 1)
        if trainers < self.group_size:
            raise LaunchError(
                f"search.group_size = {self.group_size} needs at least {self.group_size + 1} ranks (one coordinates), "
                f"this job has {self.ranks}; start more, or set search.group_size"
            )

    @property
    def alone(self) -> bool:
        return self.ranks == 1

    @property
    def groups(self) -> int:
        return max(1, self.ranks - 1) // self.group_size

    @property
    def idle(self) -> range:
        """Ranks that are left over."""
        return range(self.ranks if self.alone else 1 + self.groups * self.group_size, self.ranks)

    def group(self, rank: int) -> int | None:
        """Number of the group that ``rank`` trains in; None for the coordinator and idle ranks."""
        if self.alone:
            return 0
        if rank == 0 or rank in self.idle:
            return None
        return (rank - 1) // self.group_size

    def leader(self, group: int) -> int:
        """Rank of the group's leader."""
        return 0 if self.alone else 1 + group * self.group_size
