"""Which GPU a rank takes: counted over all ranks of the node that train, told apart by what they are, not by their number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hpcnas.core.devices import Seat, complaints, placed
from hpcnas.core.errors import LaunchError
from hpcnas.runtime import groups

FOUR = ("GPU a", "GPU b", "GPU c", "GPU d")


@pytest.mark.parametrize(
    ("visible", "numbers", "said"),
    [
        ([FOUR] * 4, [0, 1, 2, 3], None),
        ([FOUR] * 2, [0, 1], None),
        ([FOUR] * 6, [0, 1, 2, 3, 0, 1], "6 ranks that train share 4 GPU(s): ranks 1, 5 on GPU a; ranks 2, 6 on GPU b"),
        ([FOUR[:1]] * 3, [0, 0, 0], "3 ranks that train share 1 GPU(s): ranks 1, 2, 3 on GPU a"),
        ([(gpu,) for gpu in FOUR], [0, 0, 0, 0], None),  # srun --gpus-per-task=1: each sees one, and calls it 0
        ([FOUR[:2], FOUR[:2], FOUR[2:], FOUR[2:]], [0, 1, 0, 1], None),
        ([FOUR, FOUR[:1], FOUR], [0, 0, 1], "3 ranks that train share 2 GPU(s): ranks 1, 2 on GPU a"),
        ([("MIG-1",), ("MIG-2",)], [0, 0], None),
        ([(), ()], [None, None], None),
        ([FOUR, ()], [0, None], "rank(s) 2 see no GPU where others do, and train on the CPU"),
        ([], [], None),
    ],
)
def test_ranks_take_gpus_in_turn_and_those_that_share_one_are_named(visible, numbers, said):
    seats = [Seat(rank, gpus) for rank, gpus in enumerate(visible, start=1)]
    assert placed(seats) == numbers
    found = complaints(seats, "n1")
    assert found == ([f"n1: {said}"] if said else [])


def test_a_long_list_of_shared_gpus_is_cut():
    seats = [Seat(rank, tuple(f"GPU {n}" for n in range(8))) for rank in range(1, 17)]
    (said,) = complaints(seats, "n1")
    assert "16 ranks that train share 8 GPU(s)" in said and said.endswith("ranks 4, 12 on GPU 3 and 4 more")


class World:
    """The ranks of one node, of which this is the first that trains."""

    rank = 1

    def __init__(self, seats: list[Seat | None]) -> None:
        self._seats = seats

    def Split_type(self, kind: int) -> World:
        return self

    def Free(self) -> None: ...

    def allgather(self, own: Seat | None) -> list[Seat | None]:
        return [None, own, *self._seats]


@pytest.fixture
def gpus(monkeypatch):
    """Let torch see GPUs of these identifiers."""

    def see(*uuids: str | None, named: str = "") -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
        properties = [SimpleNamespace(**({"uuid": uuid} if uuid else {})) for uuid in uuids]
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)

    return see


def test_gpus_are_told_apart_by_their_identifiers(gpus):
    gpus("1a", "2b")
    assert groups.visible_gpus() == ("GPU 1a", "GPU 2b")
    gpus("1a", named="3")
    assert groups.visible_gpus() == ("GPU 1a",)
    gpus("1a", named="MIG-7")  # two parts of one GPU
    assert groups.visible_gpus() == ("GPU MIG-7",)
    gpus(None, None, named="2,3")  # a torch that does not tell them
    assert groups.visible_gpus() == ("GPU 2", "GPU 3")
    gpus()
    assert groups.visible_gpus() == ()


def test_ranks_that_share_a_gpu_are_named_or_where_they_form_groups_refused(gpus, caplog):
    gpus("a")
    shared, own = World([Seat(2, ("GPU a",))]), World([Seat(2, ("GPU b",))])
    assert groups.choose_device(own, True, 2) == torch.device("cuda", 0) and not caplog.messages
    assert groups.choose_device(shared, True, 1) == torch.device("cuda", 0)
    assert "2 ranks that train share 1 GPU(s): ranks 1, 2 on GPU a" in caplog.messages[0]
    with pytest.raises(LaunchError, match=r"ranks 1, 2 on GPU a; groups of search.group_size = 2 need a GPU for each rank"):
        groups.choose_device(shared, True, 2)


def test_without_gpus_all_train_on_the_cpu(gpus, caplog):
    gpus()
    assert groups.choose_device(World([Seat(2)]), True, 2) == torch.device("cpu") and not caplog.messages
