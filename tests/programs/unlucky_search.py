"""A search in which ranks come to grief: ``UNLUCKY="kill 2; raise 4 always; hang 6"``.

The last rank of the group that has trial 2 is killed, the one that has trial 4 raises, as often as it is tried, and the one
that has trial 6 stops for ever, in the middle of training. ``nan``: one of its losses is no number. ``kill-first``: rank 0,
when it hears of that trial's result. ``diverge 5``: that trial's loss is not finite. ``SICK="3 poisoned; 4 stale; 5 small"``:
whatever rank 3 is given, it fails at once; rank 4 cannot read a file, and rank 5 has too little memory.
"""

import errno
import os
import signal
import sys
import time

import torch
from mpi4py import MPI

from hpcnas.core.coordinator import Coordinator
from hpcnas.core.errors import TrialError
from hpcnas.nn.training import Trainer
from hpcnas.runtime.trial_runner import TrialRunner
from hpcnas.search import main

FATES = {int(fate.split()[1]): fate.split() for fate in os.environ.get("UNLUCKY", "none -1").split(";")}
SICK = dict(one.split() for one in os.environ.get("SICK", "-1 well").split(";"))
AILMENTS = {
    "poisoned": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "stale": OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
    "small": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
}
run, batch, take = TrialRunner.run, Trainer._training_batch, Coordinator._take
now = None


def running(self, assignment):
    global now
    fate, _, *always = FATES.get(assignment.trial.id, ("", 0))
    is_last = self.trainer.group.rank == self.trainer.group.size - 1
    now = fate if is_last and (always or assignment.trial.attempt == 1) else None
    return run(self, assignment)


def training_batch(self, *arguments):
    if now == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if (rank := str(MPI.COMM_WORLD.rank)) in SICK:
        raise AILMENTS[SICK[rank]]
    if now == "diverge":
        raise TrialError("loss not finite in epoch 1")
    if now == "raise":
        raise RuntimeError("out of luck")
    if now == "hang":
        time.sleep(3600)
    features, lengths, targets = batch(self, *arguments)
    return (features * float("nan") if now == "nan" else features), lengths, targets


def taking(self, result):
    take(self, result)
    if FATES.get(result.trial, [""])[0] == "kill-first":
        os.kill(os.getpid(), signal.SIGKILL)


TrialRunner.run, Trainer._training_batch, Coordinator._take = running, training_batch, taking
main(sys.argv[1:])
