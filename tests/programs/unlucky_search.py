"""A search in which ranks come to grief: ``UNLUCKY="kill 2; raise 4 always; hang 6"``.

The last rank of the group that has trial 2 is killed, the one that has trial 4 raises, as often as it is tried, and the one
that has trial 6 stops for ever, in the middle of training. ``nan``: one of its losses is no number. ``kill-first``: rank 0,
when it hears of that trial's result.
"""

import os
import signal
import sys
import time

from hpcnas.core.coordinator import Coordinator
from hpcnas.nn.training import Trainer
from hpcnas.runtime.trainer import TrialRunner
from hpcnas.search import main

FATES = {int(fate.split()[1]): fate.split() for fate in os.environ["UNLUCKY"].split(";")}
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
