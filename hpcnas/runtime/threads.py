"""Threads of this process. Without MPI: for ranks see ``groups.set_threads``."""

from __future__ import annotations

import logging
import os

import torch

from hpcnas.core.threads import Threads, decide
from hpcnas.runtime.cpus import of_process

logger = logging.getLogger(__name__)


def use(threads: Threads) -> None:
    """Let torch compute with so many; before its first operation, since a pool that was made is not given back."""
    torch.set_num_threads(threads.number)
    # Of graphs that run parts of themselves side by side, which ours do not: by itself torch would keep one for every core.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def set_alone() -> int:
    """Use what a program that is no rank may; how many these are."""
    threads = decide(os.environ, of_process())
    for complaint in threads.not_heeded:
        logger.warning("%s", complaint)
    use(threads)
    return threads.number


def use_one() -> None:
    """In a process that is one of several side by side."""
    torch.set_num_threads(1)
