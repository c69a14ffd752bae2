"""Communicators of groups."""

from __future__ import annotations

from mpi4py import MPI

from hpcnas.core.messages import Form
from hpcnas.runtime import groups


def test_a_rank_alone_needs_no_communicator_of_its_own(monkeypatch):
    monkeypatch.setattr(groups, "is_fault_tolerant", lambda: True)
    comm = groups.communicator(MPI.COMM_WORLD, Form(3, (0,)))
    assert comm is MPI.COMM_SELF
    groups.abandon(comm)  # would be the last group of this process otherwise
    assert not comm.Is_revoked() and groups.communicator(MPI.COMM_WORLD, Form(4, (0,))).size == 1
