"""Where each worker is (free, in a group, leaving one, left out, or lost), and which workers train together next.

A rank that fails again and again is sick: its device is poisoned, or a library of its node is broken. It fails within a moment
and is free again at once, so it would use up all trials of the search. Such a rank is left out. If a group fails, its first
rank to be at fault is the one that counts as sick.

Pure: told of everything, talks to nobody. Rank 0 coordinates and is not in here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from hpcnas.core.checks import at_least
from hpcnas.core.errors import ConfigError
from hpcnas.core.messages import Fault, Form

FORMING_S = 120.0
"""A new group has at least so long before it must ask for work, since thousands of ranks may start at the same time."""
ENGINES = ("auto", "horovod", "ddp")
PATIENCE = {Fault.ERROR: 2, Fault.STORAGE: 3}
"""So many failures without a result in between leave a rank out, if the last one is of that kind."""
FIRST_REST_S, LONGEST_REST_S = 2.0, 64.0
"""A rank that lacks memory or storage rests, twice as long each time, since what it lacks may come back."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How a run lives with what happens on a cluster."""

    engine: str = "auto"
    """What averages the gradients of a group of several ranks: ``horovod``, ``ddp`` (torch.distributed, which torch brings), or
    ``auto``: the first where it is installed, else the second."""
    on_group_loss: str = "auto"
    """A rank that is killed, hangs or fails takes its group with it. ``continue``: the others go on, survivors form new groups;
    needs an MPI that is fault tolerant (Open MPI 5 under ``mpirun --with-ft ulfm``). ``abort``: the job ends, to be resumed.
    ``auto``: the first where the MPI can do it, else the second."""
    hang_limit_s: float = 600.0
    """A group without a sign of life for so many seconds counts as hung. Set it well above the slowest step."""
    warning_s: float = 60.0
    """Training stops so many seconds before the job's end; see ``--time-limit``."""
    groups_per_gpu: int = 1
    """Groups of one rank that share a GPU, which a small model cannot fill; each gets its part of the memory. Start as many
    ranks more, and NVIDIA's MPS, without which they take turns (``docs/cluster.md``)."""
    gpu_features_mb: float = 4096.0
    """Features of the training split, and of the validation split behind them, lie in each rank's GPU memory if they take no
    more than this; else batches are copied from the host's. 0: always that."""
    scratch: str = ""
    """Folder on each node's own disk, such as ``$TMPDIR``, to which features are copied before training; empty: they are mapped
    from where they are cached."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f'cluster.engine = "{self.engine}": unknown; known: {", ".join(ENGINES)}')
        if self.on_group_loss not in ("auto", "continue", "abort"):
            raise ConfigError(f'cluster.on_group_loss = "{self.on_group_loss}": unknown; known: auto, continue, abort')
        at_least(10, "cluster", hang_limit_s=self.hang_limit_s)
        at_least(0, "cluster", warning_s=self.warning_s, gpu_features_mb=self.gpu_features_mb)
        at_least(1, "cluster", groups_per_gpu=self.groups_per_gpu)


class Roster:
    """Workers and their groups.

    A group consists of consecutive ranks of one node, unless that would leave ranks over. At the start ranks that fill no group
    are spares. Once a rank is lost, ranks that are left over form a smaller group instead of waiting.

    Args:
        nodes: name of every rank's node, by rank; those without a group are free.
    """

    def __init__(
        self, nodes: Sequence[str], group_size: int, hang_limit_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nodes, self._size, self._limit_s, self._clock = nodes, group_size, hang_limit_s, clock
        self.groups: dict[int, Form] = {}
        self.lost: set[int] = set()
        self.left_out: set[int] = set()
        """Ranks that have failed too often; they live, and wait to be sent home."""
        self._faults: dict[int, list[Fault]] = {}
        """Of each rank since its last result."""
        self._recovering: dict[int, float] = {}
        """Free ranks that get no work before that time."""
        self._broken: dict[int, Form] = {}
        """Groups that fell apart, nobody has said yet by whose fault."""
        self._came_from: dict[int, int] = {}
        """Numbers of the broken groups of those that are leaving."""
        self._riddles: Counter[int] = Counter()
        """How often each rank's group fell apart by nobody's fault."""
        self._free = set(range(1, len(nodes)))
        self._leaving: dict[int, float] = {}
        """Ranks whose group is no more, and since when; they have yet to say that they are free."""
        self._heard: dict[int, float] = {}
        self._asked: set[int] = set()
        self._number_of: dict[int, int] = {}
        self._next_number = 0

    @property
    def nodes(self) -> int:
        """Number of nodes, that of rank 0 included."""
        return len(set(self._nodes))

    @property
    def spare(self) -> list[int]:
        """Free ranks."""
        return sorted(self._free)

    @property
    def is_idle(self) -> bool:
        """Whether nobody trains and nobody is about to."""
        return not self.groups and not self._leaving and not self._recovering

    @property
    def is_empty(self) -> bool:
        """Whether no rank is left that could train."""
        return len(self.lost | self.left_out) == len(self._nodes) - 1

    def node(self, rank: int) -> str:
        return self._nodes[rank]

    def form(self) -> Iterator[Form]:
        """Put free ranks into groups."""
        if self._recovering:
            self._recovering = {rank: until for rank, until in self._recovering.items() if self._clock() < until}
        by_node: dict[str, list[int]] = {}
        for rank in self.spare:
            if rank in self._recovering:
                continue
            if self._riddles[rank] > 1:  # whether it is to blame shows where it has no mates
                yield self._grouped([rank])
                continue
            by_node.setdefault(self._nodes[rank], []).append(rank)
        over = []
        for ranks in by_node.values():
            full = len(ranks) // self._size * self._size
            yield from map(self._grouped, _chunks(ranks[:full], self._size))
            over += ranks[full:]
        over.sort()
        full = len(over) // self._size * self._size
        yield from map(self._grouped, _chunks(over[:full], self._size))
        if (self.lost or self.left_out) and not self._leaving and not self._recovering and over[full:]:
            yield self._grouped(over[full:])

    def group_of(self, rank: int) -> int | None:
        """Number of the rank's group; None if the group has ended: what the rank still says of it is then out of date."""
        return self._number_of.get(rank)

    def hear(self, group: int) -> None:
        """A sign of life."""
        self._heard[group] = self._clock()
        self._asked.add(group)

    def pause(self, group: int) -> None:
        """The group waits for work: it owes no sign of life until it has some."""
        self._heard.pop(group, None)

    def rest(self, group: int) -> None:
        """There is no more work for the group: its ranks only wait to be sent home."""
        for rank in self._remove(group).ranks:
            self._number_of.pop(rank)

    def free(self, rank: int, fault: Fault = Fault.ERROR) -> Form | None:
        """The rank has left its group; returns the group if it falls apart by that. If the rank was at fault too often, it is
        left out."""
        broken = self._dissolve(rank)
        is_to_blame = self._comes_out(rank, fault is not Fault.MATES)
        if rank not in self.lost:
            self._free.add(rank)
            if is_to_blame:
                self._note(rank, fault)
        return broken

    def lose(self, rank: int) -> Form | None:
        """The rank is gone for good; returns the group if it falls apart by that."""
        broken = self._dissolve(rank)
        self._comes_out(rank, True)
        self.lost.add(rank)
        self.left_out.discard(rank)
        self._free.discard(rank)
        self._recovering.pop(rank, None)
        return broken

    def succeed(self, group: int) -> None:
        """The group has a result: its ranks are well."""
        if self._faults or self._riddles:
            ranks = self.groups[group].ranks
            for rank in ranks:
                self._faults.pop(rank, None)
                if len(ranks) > 1:
                    self._riddles.pop(rank, None)

    def forgive(self, ranks: Iterable[int]) -> None:
        """The last failure of each rank was not its own fault; a rank that was left out because of it trains again."""
        for rank in ranks:
            faults = self._faults.get(rank, [])
            del faults[-1:]
            if rank in self.left_out and not _is_too_much(faults):
                self.left_out.discard(rank)
                self._free.add(rank)

    def stop_waiting(self) -> None:
        """There is no more work, so no rank needs to rest."""
        self._recovering.clear()

    def ranks(self, group: int) -> frozenset[int]:
        return frozenset(self.groups[group].ranks)

    def is_doubtful(self, group: int) -> bool:
        """Whether one of its ranks has failed, and the group has had no result since."""
        return bool(self._faults) and any(_counted(self._faults.get(rank, ())) for rank in self.groups[group].ranks)

    def has_others(self, ranks: frozenset[int]) -> bool:
        """Whether there is a group that has none of these ranks and is not doubtful."""
        return any(ranks.isdisjoint(group.ranks) and not self.is_doubtful(number) for number, group in self.groups.items())

    def hung(self) -> list[Form]:
        """Groups that owe a sign of life."""
        now = self._clock()

        def limit(number: int) -> float:
            return self._limit_s if number in self._asked else max(FORMING_S, self._limit_s)

        return [self.groups[number] for number, heard in self._heard.items() if now - heard > limit(number)]

    def break_up(self, number: int) -> None:
        """Let a group fall apart; its ranks are expected to say that they are free."""
        group = self._broken[number] = self._remove(number)
        for rank in group.ranks:
            self._number_of.pop(rank)
            self._leaving[rank], self._came_from[rank] = self._clock(), number

    def stuck(self, limit_s: float) -> list[int]:
        """Ranks that have not come out of a broken group for so long."""
        return [rank for rank, since in self._leaving.items() if self._clock() - since > limit_s]

    def _grouped(self, ranks: Sequence[int]) -> Form:
        group = Form(self._next_number, tuple(ranks))
        self._next_number += 1
        self.groups[group.number] = group
        self._heard[group.number] = self._clock()
        self._free.difference_update(ranks)
        self._number_of.update(dict.fromkeys(ranks, group.number))
        return group

    def _dissolve(self, rank: int) -> Form | None:
        if rank not in self._number_of:
            return None
        group = self.groups[self._number_of[rank]]
        self.break_up(group.number)
        return group

    def _comes_out(self, rank: int, is_at_fault: bool) -> bool:
        """The rank is out of its broken group; whether it is the first of its mates to be at fault."""
        self._leaving.pop(rank, None)
        number = self._came_from.pop(rank, None)
        if number is None:
            return False
        if is_at_fault:
            return self._broken.pop(number, None) is not None
        if number in self._broken and number not in self._came_from.values():
            self._riddles.update(self._broken.pop(number).ranks)
        return False

    def _note(self, rank: int, fault: Fault) -> None:
        faults = self._faults.setdefault(rank, [])
        faults.append(fault)
        if _is_too_much(faults):
            self._free.discard(rank)
            self.left_out.add(rank)
        elif fault is not Fault.ERROR:
            self._recovering[rank] = self._clock() + min(LONGEST_REST_S, FIRST_REST_S * 2 ** (len(faults) - 1))

    def _remove(self, number: int) -> Form:
        self._heard.pop(number, None)
        self._asked.discard(number)
        return self.groups.pop(number)


def _counted(faults: Sequence[Fault]) -> list[Fault]:
    """Those that may be the rank's own."""
    return [fault for fault in faults if fault in PATIENCE]


def _is_too_much(faults: Sequence[Fault]) -> bool:
    counted = _counted(faults)
    return bool(counted) and len(counted) >= PATIENCE[counted[-1]]


def _chunks(ranks: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ranks[start : start + size] for start in range(0, len(ranks), size))
