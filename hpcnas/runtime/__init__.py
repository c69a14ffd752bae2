"""MPI and its groups: all that knows of several processes. Only here and in the programs is mpi4py imported: that starts MPI.

A program makes a ``plan`` and lets ``stage`` run it on all ranks. From there on

- rank 0 is a ``server``. It answers the others from its ``desk``: coordinator, journal, clock, and a ``watch`` that prints.
- Every other rank is a ``worker``. It takes its place in one of the ``groups`` and trains there with a ``trial_runner``.
- What they say to each other goes through a ``channel``.

``roles`` counts the groups, ``launch`` starts and ends programs. A rank alone is all of this in one process.
"""
