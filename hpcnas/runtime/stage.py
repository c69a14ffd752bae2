"""One stage of a run under MPI: every rank in its role until there is no more work."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable

from mpi4py import MPI

from hpcnas.config import Config
from hpcnas.core import metrics
from hpcnas.core.errors import HpcnasError
from hpcnas.core.roster import Roster
from hpcnas.core.search_config import IN_THE_FIELD, RANKINGS
from hpcnas.data.corpus import CorpusIndex
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.front_end import FrontEnd
from hpcnas.nn.group import Group
from hpcnas.nn.training import Trainer
from hpcnas.runtime import engines, groups, memory, precision
from hpcnas.runtime.channel import GroupChannel, Line, LocalChannel, Pulse
from hpcnas.runtime.desk import Desk
from hpcnas.runtime.groups import check_mpi, make_group, set_threads
from hpcnas.runtime.launch import alone, stop_on_signal
from hpcnas.runtime.no_compiler import leave_compiler_out
from hpcnas.runtime.own_corpus import own_corpus
from hpcnas.runtime.plan import Plan
from hpcnas.runtime.roles import Roles
from hpcnas.runtime.server import Server
from hpcnas.runtime.streams import long_audio
from hpcnas.runtime.together import on_every_rank
from hpcnas.runtime.trial_runner import LARGEST_LOGITS, TrialRunner
from hpcnas.runtime.worker import MakeRunner, Worker
from hpcnas.store.run_dir import RunDir, Stage

logger = logging.getLogger(__name__)


def set_up(
    world: MPI.Intracomm,
    config: Config,
    run: RunDir,
    stage: Stage,
    accept_new_data: bool,
    front_end: FrontEnd | None = None,
    further: Callable[[], Callable[[CorpusIndex], CorpusIndex]] = lambda: lambda index: index,
) -> tuple[Corpus, Callable[[], None]]:
    """What all ranks need before a stage: full groups, an engine for those of several, threads, room, the run's corpus, and
    what writes down that the stage is of it; collective over ``world``.

    Args:
        front_end: see ``own_corpus``.
        further: gives its argument of this name, on all ranks together.
    """
    on_every_rank(world, lambda: Roles(world.size, config.search.group_size))
    if config.search.group_size > 1:
        engine = engines.check(world, config.cluster)
        why = " since Horovod is not installed" if config.cluster.engine == "auto" and engine == "ddp" else ""
        logger.info("groups of %d average their gradients by %s%s", config.search.group_size, engine, why)
    on_every_rank(world, check_mpi)
    set_threads(world)
    memory.limit_kernels()
    memory.keep_what_is_freed()
    return own_corpus(world, config, run, stage, accept_new_data, front_end, further())


def run_stage(world: MPI.Intracomm, config: Config, corpus: Corpus, plan: Plan) -> int:
    """Run a stage; collective over ``world``, which may have lost ranks when it returns. Returns the exit status, 0 or
    EXIT_SUSPENDED, on every rank; raises HpcnasError on rank 0 alone."""
    leave_compiler_out()
    trains_not = world.rank == 0 and world.size > 1
    size, cluster = plan.search.group_size, config.cluster
    place = on_every_rank(world, lambda: groups.choose_place(world, not trains_not, size, cluster.groups_per_gpu))
    on_every_rank(world, place.take)
    on_every_rank(world, lambda: None if trains_not else precision.use(plan.training, place.device))
    at_hand = corpus.on(place.device, cluster.gpu_features_mb * 2**20)
    name = plan.search.objective
    of_long_audio = long_audio(world, config, corpus) if name == IN_THE_FIELD else None
    metric = metrics.accuracy if of_long_audio else metrics.OBJECTIVES[name]  # in its place the long audio is asked

    def make_runner(number: int, group: Group, channel: GroupChannel, line: Line | None) -> TrialRunner:
        trainer = Trainer(at_hand, group, plan.training, plan.augmentation, place.device, size)
        around = config.space.surroundings(corpus.bands, len(corpus.class_names), plan.training.dropout)
        return TrialRunner(
            number, channel, line, trainer, around, config.augmentation, plan.inheritance, plan.stage, plan.budget,
            metric, plan.splits, plan.objective, RANKINGS[plan.search.rank_by], plan.ready,
            math.inf if plan.combiner.has_teams or len(plan.splits) > 1 else LARGEST_LOGITS, of_long_audio,
        )  # fmt: skip

    return run_trials(world, config, lambda: Desk(config, corpus, plan), make_runner)


def run_trials(world: MPI.Intracomm, config: Config, make_desk: Callable[[], Desk], make_runner: MakeRunner) -> int:
    """Let rank 0 hand out what its desk has and the others run it; the rest as for ``run_stage``.

    Args:
        make_runner: what a group of that number works with, on each of its ranks.
    """
    goes_on = on_every_rank(world, lambda: groups.goes_on(config.cluster))
    # Slurm's name, since several of its nodes may be one host.
    nodes = world.gather(os.environ.get("SLURMD_NODENAME") or socket.gethostname())
    control, engine = world.Dup(), engines.engine_of(config.cluster)
    # Another job may be writing this run: all ranks must hear of it.
    desk = on_every_rank(world, lambda: make_desk() if world.rank == 0 else None)
    if desk is None:
        stop_on_signal(lambda: None)
        with alone():
            return Worker(world, control, config.cluster, goes_on, engine, make_runner).work()
    if world.size == 1:
        pulse = Pulse()
        desk.watch.work_in(1)
        with alone():
            line = LocalChannel(desk.coordinator, desk.settle)
            make_runner(0, make_group(world, pulse, engine), GroupChannel(world, pulse), line).work()
        return desk.close()
    assert nodes is not None, "rank 0 has gathered them"
    roster = Roster(nodes, config.search.group_size, config.cluster.hang_limit_s)
    server = Server(
        world, control, config.cluster, goes_on, roster, desk.coordinator, desk.commit, desk.settle, desk.watch.work_in
    )  # fmt: skip
    with alone():
        server.serve()
    try:
        status = desk.close()
    except HpcnasError as error:
        server.send_home(error.status)
        raise
    server.send_home(status)
    return status
