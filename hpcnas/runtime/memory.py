"""What a rank holds stays what a model needs, however many models it has trained."""

from __future__ import annotations

import ctypes
import os

_CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def limit_kernels() -> None:
    """Let oneDNN keep the kernels of one or two models: by itself it keeps 1,024, made for one shape each, of layers that no
    other trial has. To be called before the first layer runs; who has set the variable knows better."""
    os.environ.setdefault(_CAPACITY, "256")


def give_back() -> None:
    """Tell the C library to return what the last trial left to the system: each trial's arrays have other sizes, and what lies
    in pieces between them would grow for hundreds of trials. Of glibc; others do it themselves or not at all."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
