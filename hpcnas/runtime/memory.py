"""What a rank holds stays what a model needs, however many models it has trained."""

from __future__ import annotations

import ctypes
import os

import torch

_CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def limit_kernels() -> None:
    """Let oneDNN keep the kernels of one or two models: by itself it keeps 1,024, made for one shape each, of layers that no
    other trial has. To be called before the first layer runs; who has set the variable knows better."""
    os.environ.setdefault(_CAPACITY, "256")


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
