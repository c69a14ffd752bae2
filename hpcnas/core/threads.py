"""How many threads a process computes with, from what the user, the batch system and the machine say.

The user's word comes first (``OMP_NUM_THREADS``), then the number of CPUs that the batch system was asked for
(``--cpus-per-task``), as far as there is room. Otherwise a rank takes its share of the cores. One thread too many costs more
than one too few, since threads spin while they wait for one that has no core.

Pure: ``runtime/cpus.py`` reads what there is to know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction

MOST_UNASKED = 8
"""Threads of a process that has a whole machine to itself and was told nothing. Models of this size keep no more busy, and the
machine may be a login node."""
SAID_TO_ALL = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK", "PBS_JOBID", "NCPUS")
"""Variables that mean the same on every node of a job; an mpirun that starts ranks by ssh leaves them on the first."""
Share = tuple[Fraction | float, str]
"""Threads that one limit leaves to a process, and its words."""
_ASKED_PER_RANK = ("SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK")


@dataclass(frozen=True)
class Cpus:
    """Where a process may run."""

    allowed: frozenset[int]
    """CPUs (hardware threads) by the kernel's numbers: its affinity, which a cpuset limits."""
    of_machine: int
    core_of: Mapping[int, int]
    """The core of a CPU, for all CPUs of the cores in ``allowed``; one that is not listed is a core of its own."""
    quota: float = math.inf
    """CPU seconds a second that the control group grants to all its processes together, as containers have it."""

    @property
    def is_confined(self) -> bool:
        """Whether a batch system, a container or an MPI that binds confines the process to a part of the machine."""
        return len(self.allowed) < self.of_machine

    def cores(self, cpus: Iterable[int]) -> set[int]:
        return {self.core_of.get(cpu, cpu) for cpu in cpus}


@dataclass(frozen=True)
class Threads:
    """What was decided, and why."""

    number: int
    reason: str
    not_heeded: tuple[str, ...] = ()
    """Variables that say no number, one sentence each."""

    def __str__(self) -> str:
        return f"{self.number} ({self.reason})"


def decide(environment: Mapping[str, str], own: Cpus, beside: Sequence[Set[int]] = (), host: str = "") -> Threads:
    """The threads of one process.

    Args:
        beside: the CPUs of every other rank on the node that computes; a rank that only coordinates sleeps and does not count.
        host: this node's name, by which LSF lists it.
    """
    said, not_heeded = _said(environment)
    most = said.get("OMP_NUM_THREADS")
    if most and not _is_of_pbs(environment):
        return Threads(most, f"OMP_NUM_THREADS={environment['OMP_NUM_THREADS'].strip()}", not_heeded)
    names = ("OMP_NUM_THREADS", *_ASKED_PER_RANK) if most else _ASKED_PER_RANK
    name = next((name for name in names if name in said), None)
    if name is None:
        share, reason = min(_shares(environment, own, beside, host))
        return Threads(max(1, math.floor(share)), reason, not_heeded)
    # Asked for by the CPU, as the batch system counts them: often hardware threads.
    room, limit = min([_share_of("CPU", own.allowed, beside), *_share_of_quota(own, beside)])
    room = max(1, math.floor(room))
    by = " of PBS" if name == "OMP_NUM_THREADS" else ""
    if said[name] <= room:
        return Threads(said[name], f"{name}={said[name]}{by}", not_heeded)
    return Threads(room, f"{name}={said[name]}{by}, but there is room for {room} only: {limit}", not_heeded)


def _said(environment: Mapping[str, str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The numbers in variables that are to name one, and complaints about those that do not. An empty one says nothing."""
    said, complaints = {}, []
    for name in ("OMP_NUM_THREADS", *_ASKED_PER_RANK):
        value = environment.get(name, "").strip()
        # OpenMP's variable may be a list: how many on each level of nesting. Ours is the outermost.
        form = r"\+?(\d+)\s*(,\s*\+?\d+\s*)*" if name == "OMP_NUM_THREADS" else r"\+?(\d+)"
        if (match := re.fullmatch(form, value, re.ASCII)) and int(match[1]) > 0:
            said[name] = int(match[1])
        elif value:
            complaints.append(f"{name}={value} is no number of threads, and not heeded")
    return said, tuple(complaints)


def _is_of_pbs(environment: Mapping[str, str]) -> bool:
    """Whether PBS has set OMP_NUM_THREADS: to the CPUs of a chunk, however many ranks share it, unless ``ompthreads`` was asked
    for; NCPUS has the same number."""
    return "PBS_JOBID" in environment and environment.get("NCPUS", "").strip() == environment["OMP_NUM_THREADS"].strip()


def _shares(environment: Mapping[str, str], own: Cpus, beside: Sequence[Set[int]], host: str) -> list[Share]:
    """What this process may take by each limit there is."""
    shares = [_share_of("core", own.cores(own.allowed), [own.cores(other) for other in beside]), *_share_of_quota(own, beside)]
    if not own.is_confined:
        if not beside and shares[0][0] > MOST_UNASKED:
            shares.append((MOST_UNASKED, f"no more than {MOST_UNASKED} of {shares[0][1]} unless OMP_NUM_THREADS asks for them"))
        # Else the cpuset is the better word: slots of LSF may have several cores each.
        shares += [(Fraction(slots, 1 + len(beside)), name + _for(beside)) for slots, name in _slots(environment, host)]
    return shares


def _share_of(unit: str, own: Set[int], beside: Sequence[Set[int]]) -> Share:
    """Each unit is shared equally by the ranks that may run there: bound ranks share none, unbound ones all."""
    share = sum((Fraction(1, 1 + sum(one in other for other in beside)) for one in own), Fraction(0))
    sharing = sum(not own.isdisjoint(other) for other in beside)
    count = f"{len(own)} {unit}{'s' if len(own) > 1 else ''}"
    return share, f"{count} shared by {1 + sharing} ranks that train" if sharing else f"{count} of its own"


def _share_of_quota(own: Cpus, beside: Sequence[Set[int]]) -> list[Share]:
    if math.isinf(own.quota):
        return []
    return [(own.quota / (1 + len(beside)), f"a control group's quota of {own.quota:g} CPUs{_for(beside)}")]


def _slots(environment: Mapping[str, str], host: str) -> list[tuple[int, str]]:
    """CPUs that the job has on this node, by batch systems that do not always confine it to them."""
    slots = [(environment.get(name, ""), name) for name in ("SLURM_CPUS_ON_NODE", "PBS_NUM_PPN")]
    hosts = environment.get("LSB_MCPU_HOSTS", "").split()
    of_lsf = {name.partition(".")[0]: count for name, count in zip(hosts[::2], hosts[1::2])}
    slots.append((of_lsf.get(host.partition(".")[0], ""), "LSB_MCPU_HOSTS"))
    counts = [(int(count), name) for count, name in slots if count.isdecimal() and int(count)]
    total, hosts_of_sge = (environment.get(name, "") for name in ("NSLOTS", "NHOSTS"))
    if total.isdecimal() and int(total):
        counts.append((math.ceil(int(total) / max(1, int(hosts_of_sge) if hosts_of_sge.isdecimal() else 1)), "NSLOTS"))
    return [(count, f"{name} gives {count} on this node") for count, name in counts]


def _for(beside: Sequence[Set[int]]) -> str:
    return f" for {1 + len(beside)} ranks that train" if beside else ""
