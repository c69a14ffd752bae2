"""Whose fault an exception on one rank is: the user's, the node's storage, its memory, or the rank's or trial's."""

from __future__ import annotations

import errno

import torch

from hpcnas.core.errors import HpcnasError
from hpcnas.core.messages import Fault

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "std::bad_alloc", "ALLOC_FAILED")
"""What torch, the CUDA libraries and C++ say in plain RuntimeErrors."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of its GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def fault_of(error: Exception) -> Fault | None:
    """The kind of fault; None for what no other rank would do better, and the user must hear of: a damaged file, a full disk
    under the run directory, which every rank writes to."""
    if is_out_of_memory(error):
        return Fault.MEMORY
    if isinstance(error, HpcnasError):
        of_system = error.__cause__
        is_local = isinstance(of_system, OSError) and of_system.errno is not None and of_system.errno not in _FULL
        return Fault.STORAGE if is_local else None
    return Fault.STORAGE if isinstance(error, OSError) else Fault.ERROR
