"""Where this process may run, as the kernel tells it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from hpcnas.core.threads import Cpus


def of_process(root: Path = Path("/")) -> Cpus:
    """The CPUs of this process; those of the whole machine where the system has no affinity (macOS).

    Args:
        root: below which ``sys`` and ``proc`` lie.
    """
    of_machine = os.cpu_count() or 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(of_machine)
    return Cpus(frozenset(allowed), max(of_machine, len(allowed)), _cores(root, allowed), _quota(root))


def _cores(root: Path, cpus: Iterable[int]) -> dict[int, int]:
    """The core of each CPU and of those that share it, by the lowest of its CPUs."""
    core_of: dict[int, int] = {}
    for cpu in cpus:
        siblings = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        if cpu not in core_of and (text := _read(siblings)):
            together = _listed(text)
            core_of |= dict.fromkeys(together, min(together))
    return core_of


def _listed(text: str) -> list[int]:
    """The numbers of a list as the kernel writes it: ``0,64`` or ``0-1``."""
    spans = (part.partition("-") for part in text.split(","))
    return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]


def _quota(root: Path) -> float:
    """The least that the control group of this process and those above it grant."""
    groups = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    quotas = [math.inf]
    for _, controllers, path in groups:
        if not controllers:
            quotas += (_ratio(*_read(place / "cpu.max").split()) for place in _upwards(root / "sys/fs/cgroup", path))
        elif "cpu" in controllers.split(","):
            for place in _upwards(root / "sys/fs/cgroup" / controllers, path):
                quotas.append(_ratio(*(_read(place / f"cpu.cfs_{what}_us") for what in ("quota", "period"))))
    return min(quotas)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The folder of a control group and those above it; in a container some are not to be seen."""
    relative = PurePosixPath(path.lstrip("/"))
    yield from (mount / part for part in (relative, *relative.parents))


def _ratio(quota: str = "", period: str = "") -> float:
    """No limit is ``max`` in version 2 and ``-1`` in version 1."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(quota) and int(period) else math.inf


def _read(path: Path) -> str:
    """What a file of the kernel says; nothing where it is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
