"""Ranks keep the kernels of few models, and the memory of one step for the next, unless the user says otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from hpcnas.runtime import memory


def test_the_user_s_own_limit_on_kernels_holds(monkeypatch):
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    memory.limit_kernels()
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    memory.limit_kernels()
    assert os.environ[name] == "256"


FAULTS = """
import resource, sys, numpy as np
from hpcnas.runtime import memory
if "keep" in sys.argv: memory.keep_what_is_freed()
for step in range(21):
    np.ones(1_000_000) + 1
    if step == 0: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str, **environment: str) -> int:
    """Page faults of twenty steps with arrays of 8 MB, each a fault for 4 or more kB if it comes from the system anew."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(command, env=known | environment, capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt")
def test_what_a_step_frees_is_kept_for_the_next():
    freed = faults()
    assert faults("keep") < freed / 10
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="131072") > freed / 2, "who has set glibc's variables knows better"
