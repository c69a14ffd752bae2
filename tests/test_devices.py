"""Which GPU a rank takes: counted over all ranks of the node that train, told apart by what they are, not by their number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hpcnas.core.devices import Seat, complaints, placed
from hpcnas.core.errors import ConfigError, LaunchError
from hpcnas.nn.recipe import TrainingConfig
from hpcnas.runtime import groups, precision

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
    assert groups.choose_place(own, True, 2) == (torch.device("cuda", 0), 1) and not caplog.messages
    assert groups.choose_place(shared, True, 1) == (torch.device("cuda", 0), 2)
    assert "2 ranks that train share 1 GPU(s): ranks 1, 2 on GPU a" in caplog.messages[0]
    with pytest.raises(LaunchError, match=r"ranks 1, 2 on GPU a; groups of search.group_size = 2 need a GPU for each rank"):
        groups.choose_place(shared, True, 2)


def test_groups_that_are_to_share_a_gpu_do_so_without_a_word_and_each_has_its_part_of_the_memory(gpus, caplog, monkeypatch):
    gpus("a", "b")
    world = World([Seat(rank, ("GPU a", "GPU b")) for rank in (2, 3, 4)])
    place = groups.choose_place(world, True, 1, per_gpu=2)
    assert place == (torch.device("cuda", 0), 2) and not caplog.messages
    fewer = groups.choose_place(World([Seat(rank, ("GPU a", "GPU b")) for rank in range(2, 6)]), True, 1, per_gpu=2)
    assert fewer.sharers == 3 and "5 ranks that train share 2 GPU(s): ranks 1, 3, 5 on GPU a" in caplog.messages[0]
    assert "ranks 2, 4" not in caplog.messages[0], "two may"
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: taken.append((share, device)))
    place.take()
    assert taken == [place.device, (pytest.approx(0.45), place.device)]


def test_groups_of_several_ranks_share_no_gpu(gpus):
    gpus("a")
    with pytest.raises(LaunchError, match=r"cluster.groups_per_gpu = 2: groups of search.group_size = 2 need a GPU for each"):
        groups.choose_place(World([Seat(2, ("GPU a",))]), True, 2, per_gpu=2)


def test_a_rank_that_does_not_train_takes_no_gpu(gpus, monkeypatch):
    gpus("a")
    place = groups.choose_place(World([Seat(2, ("GPU a",))]), False, 1)
    assert place == (torch.device("cpu"), 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: pytest.fail("touched a GPU"))
    place.take()


@pytest.mark.parametrize(
    ("key", "needed"), [("mixed_precision", "a GPU or a processor with AVX512_BF16 or AMX_BF16"), ("tf32", "a GPU")]
)
def test_fewer_bits_are_refused_where_the_device_does_not_compute_in_them(key, needed, monkeypatch):
    asked = TrainingConfig(**{key: True})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    with pytest.raises(ConfigError, match=f"training.{key} = true needs {needed}, and there is none; set it to false"):
        precision.use(asked, torch.device("cpu"))
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(ConfigError, match=f"training.{key} = true needs a GPU that computes in .*, and Tesla V100 does not"):
        precision.use(asked, gpu)
    precision.use(TrainingConfig(), torch.device("cpu"))


@pytest.mark.parametrize("told", [{"avx512_bf16": True, "amx_bf16": False}, {"amx_bf16": True}])
def test_a_processor_that_multiplies_bfloat16_may(told, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    precision.use(TrainingConfig(mixed_precision=True), torch.device("cpu"))


@pytest.mark.parametrize("wanted", [True, False])
def test_tf32_is_as_the_configuration_says(wanted, monkeypatch):
    backends = SimpleNamespace(allow_tf32=not wanted), SimpleNamespace(allow_tf32=not wanted)
    monkeypatch.setattr(torch.backends.cuda, "matmul", backends[0])
    monkeypatch.setattr(torch.backends, "cudnn", backends[1])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    precision.use(TrainingConfig(tf32=wanted), torch.device("cuda", 0))
    assert [backend.allow_tf32 for backend in backends] == [wanted, wanted]


def test_without_gpus_all_train_on_the_cpu(gpus, caplog):
    gpus()
    assert groups.choose_place(World([Seat(2)]), True, 2) == (torch.device("cpu"), 1) and not caplog.messages
