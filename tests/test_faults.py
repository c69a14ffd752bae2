"""Whose fault an exception on one rank is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcnas.core.errors import OutcomeError, RunError, TrialError
from hpcnas.core.messages import Fault
from hpcnas.core.trial import Cost, Result, TrialState
from hpcnas.runtime.faults import fault_of, is_out_of_memory
from hpcnas.search import check_outcome
from hpcnas.store import weights
from hpcnas.store.files import replacing
from hpcnas.store.run_dir import RunDir


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), Fault.ERROR),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), Fault.ERROR),
        (ImportError("libcudnn.so.9: cannot open shared object file"), Fault.ERROR),
        (ZeroDivisionError(), Fault.ERROR),
        (MemoryError(), Fault.MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), Fault.MEMORY),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), Fault.MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), Fault.MEMORY),
        (of_system(errno.ENOMEM), Fault.MEMORY),
        (of_system(errno.ESTALE), Fault.STORAGE),
        (of_system(errno.EIO), Fault.STORAGE),
        (of_system(errno.EROFS), Fault.STORAGE),
        (of_system(errno.ENOSPC), Fault.STORAGE),  # of a node's own disk: the run's is a RunError
        (RunError("weights.h5: contents do not match"), None),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_rank_raises_is_its_own_its_storage_s_its_memory_s_or_the_user_s(error, fault):
    assert fault_of(error) is fault
    assert is_out_of_memory(error) == (fault is Fault.MEMORY)


@pytest.mark.parametrize("take", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_what_libraries_raise_for_too_little_memory_is_known(take):
    with pytest.raises((RuntimeError, MemoryError)) as error:
        take(1 << 55)
    assert fault_of(error.value) is Fault.MEMORY


def test_a_damaged_weights_file_is_for_the_user_and_one_that_cannot_be_read_here_is_not(tmp_path, monkeypatch):
    (tmp_path / "weights.h5").write_bytes(b"damaged" * 200)
    with pytest.raises(RunError) as damaged:
        weights.load_arrays(tmp_path / "weights.h5")
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"cut")
    with pytest.raises(RunError) as cut:
        weights.load_arrays(tmp_path / "weights.h5")
    with pytest.raises(RunError) as missing:
        weights.load_arrays(tmp_path / "none.h5")
    monkeypatch.setattr("builtins.open", lambda *arguments, **more: (_ for _ in ()).throw(of_system(errno.ESTALE)))
    with pytest.raises(RunError) as stale:
        weights.load_arrays(tmp_path / "weights.h5")
    monkeypatch.undo()
    faults = [fault_of(error.value) for error in (damaged, cut, missing, stale)]
    assert faults == [None, None, Fault.STORAGE, Fault.STORAGE]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_of_the_run_is_told_with_the_file_and_the_way_out(tmp_path, number):
    with pytest.raises(RunError, match=r"w\.h5: .*; make room, then .*--resume") as error, replacing(tmp_path / "w.h5"):
        raise of_system(number)
    assert fault_of(error.value) is None and os.strerror(number) in str(error.value)


def results(*states: TrialState, error: str = "cut off 3 times, the last time: rank {} on a: RuntimeError: no") -> list[Result]:
    scores = [0.5 if state.has_score else float("nan") for state in states]
    return [
        Result(i, state, score, 1.0, Cost(1, 1, 1), 1, 1, 0, 1.0, 0, (), "" if score == score else error.format(i))
        for i, (state, score) in enumerate(zip(states, scores))
    ]


class Found:
    def __init__(self, *states: TrialState) -> None:
        self.results = {result.trial: result for result in results(*states)}
        self.ranking = [result for result in self.results.values() if result.state.has_score]


FAILED, FINE, TOO_LARGE = TrialState.FAILED, TrialState.COMPLETED, TrialState.INFEASIBLE


@pytest.mark.parametrize(
    ("states", "is_well"),
    [
        ([FAILED] * 53 + [FINE] * 7, False),
        ([FAILED] * 5 + [FINE] * 4, False),
        ([FAILED] * 5 + [FINE] * 4 + [TOO_LARGE] * 30, False),
        ([FAILED] * 4 + [FINE] * 4, True),
        ([FAILED] * 3 + [FINE] * 1, True),
        ([FINE] * 9, True),
        ([TOO_LARGE] * 30 + [FINE], True),
    ],
)
def test_a_search_most_of_whose_trials_failed_says_so_and_ends_with_a_status_of_its_own(states, is_well):
    run = RunDir(Path("runs/x"))
    if is_well:
        return check_outcome(run, Found(*states))
    failed = states.count(FAILED)
    with pytest.raises(OutcomeError, match=rf"{failed} of .* trials failed, {failed} of them like trial 0 ") as error:
        check_outcome(run, Found(*states))
    assert error.value.status == 3 and "RuntimeError: no" in str(error.value) and "\n" not in str(error.value)


def test_errors_have_the_status_that_their_program_ends_with():
    assert (RunError.status, TrialError.status, OutcomeError.status) == (2, 2, 3)
