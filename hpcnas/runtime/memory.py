"""What a rank holds stays what a model needs, however many models it has trained."""

from __future__ import annotations

import ctypes
import os

import torch

_CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_MALLOPT = {-1: 2**31 - 1, -3: 2**30}
"""Of glibc, bytes: what is free at the end of the heap before it is returned (``M_TRIM_THRESHOLD``), and from which size on an
array is a mapping of its own (``M_MMAP_THRESHOLD``)."""


def limit_kernels() -> None:
    """Let oneDNN keep the kernels of one or two models: by itself it keeps 1,024, made for one shape each, of layers that no
    other trial has. To be called before the first layer runs; who has set the variable knows better."""
    os.environ.setdefault(_CAPACITY, "256")


def keep_what_is_freed() -> None:
    """Let the C library keep the arrays of a step for the next one. By itself it returns those of megabytes to the system, and
    a model of planes spends a third of a step, and half of an evaluation, on having them back page by page. ``give_back``
    returns them between trials. Of glibc; who has set its variables knows better."""
    is_told = any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"))
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not is_told:
        for parameter, value in _MALLOPT.items():
            mallopt(parameter, value)


def give_back(of_gpu: bool = False) -> None:
    """Tell the C library to return what the last trial left to the system: each trial's arrays have other sizes, and what lies
    in pieces between them would grow for hundreds of trials. Of glibc; others do it themselves or not at all.

    Args:
        of_gpu: torch too, which keeps a GPU's memory for the next trial, is to return it: that waits for the GPU.
    """
    if of_gpu and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
