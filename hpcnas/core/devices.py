"""Which GPU each rank of a node trains on, and which ranks have to share one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_NAMED = 4
"""GPUs that a message lists."""


@dataclass(frozen=True)
class Seat:
    """A rank that trains, and the GPUs that it sees."""

    rank: int
    gpus: tuple[str, ...] = ()
    """Identifiers of the GPUs, in the order in which this rank counts them. Numbers would not do: if the batch system shows
    each rank one GPU, every one of them is number 0."""


def placed(seats: Sequence[Seat]) -> list[int | None]:
    """The number of each rank's GPU among those that it sees, in the order of ``seats``; None for a rank that sees none.

    Each rank takes the GPU with the fewest ranks so far, so ranks that see the same GPUs take them in turn."""
    ranks_on: Counter[str] = Counter()
    numbers: list[int | None] = []
    for seat in seats:
        number = min(range(len(seat.gpus)), key=lambda i: (ranks_on[seat.gpus[i]], i), default=None)
        if number is not None:
            ranks_on[seat.gpus[number]] += 1
        numbers.append(number)
    return numbers


def ranks_by_gpu(seats: Sequence[Seat]) -> dict[str, list[int]]:
    """Which ranks are placed on each GPU."""
    ranks_on: dict[str, list[int]] = defaultdict(list)
    for seat, number in zip(seats, placed(seats)):
        if number is not None:
            ranks_on[seat.gpus[number]].append(seat.rank)
    return ranks_on


def complaints(seats: Sequence[Seat], host: str, per_gpu: int = 1) -> list[str]:
    """What is wrong with the GPUs of one node, for ranks that are to train as groups: more than ``per_gpu`` have to share one,
    or some have none."""
    ranks_on = ranks_by_gpu(seats)
    found = []
    shared = {gpu: ranks for gpu, ranks in ranks_on.items() if len(ranks) > per_gpu}
    if shared:
        listed = [f"ranks {', '.join(map(str, ranks))} on {gpu}" for gpu, ranks in shared.items()]
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        found.append(f"{host}: {sum(map(len, ranks_on.values()))} ranks that train share {len(ranks_on)} GPU(s): "
                     f"{'; '.join(listed[:_NAMED])}{more}")  # fmt: skip
    without = [seat.rank for seat in seats if not seat.gpus]
    if without and ranks_on:
        found.append(f"{host}: rank(s) {', '.join(map(str, without))} see no GPU where others do, and train on the CPU")
    return found
