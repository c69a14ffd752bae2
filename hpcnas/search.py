"""The search, under MPI.

    mpirun -np 64 python -m hpcnas.search [CONFIG.toml] [--run DIR] [--set table.key=value ...] [--resume]
        [--warm-start RUN] [--accept-new-data] [--time-limit HH:MM:SS]

One rank coordinates, the others train in groups; with one rank (or without mpirun) one process does both.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas import zoo
from hpcnas.config import Config
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ConfigError, OutcomeError, RunError
from hpcnas.core.search_config import SearchConfig
from hpcnas.core.space import spell
from hpcnas.core.trial import Cost, Proposal, TrialState
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.runtime import engines, warm_start
from hpcnas.runtime.environment import record_environment
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.models import labels_alone, labels_together
from hpcnas.runtime.own_corpus import add_accept_new_data
from hpcnas.runtime.plan import Plan
from hpcnas.runtime.roles import Roles
from hpcnas.runtime.stage import run_stage, set_up
from hpcnas.runtime.together import on_first_rank
from hpcnas.runtime.walltime import add_time_limit, job_end
from hpcnas.store import archive_file
from hpcnas.store.files import replacing
from hpcnas.store.journal_reader import unwritten
from hpcnas.store.run_dir import RunDir

logger = logging.getLogger(__name__)

MANY_FAILED = 4
"""So many failed trials, if they are most, are no chance."""


def main(argv: Sequence[str] | None = None) -> None:
    run_program(search, argv)


def search(world: MPI.Intracomm, argv: Sequence[str]) -> int:
    """Run or resume a search; returns the exit status."""
    run, config, complete, arguments, found = on_first_rank(world, lambda: prepare(argv))
    end = on_first_rank(world, lambda: job_end(arguments.time_limit))
    roles = Roles(world.size, config.search.group_size)
    set_up_logging(run, world.rank)
    if complete:
        if world.rank == 0:
            logger.info(
                "%s: the search is complete already; a larger search.max_trials (or other limit) would go on with it", run.root
            )
        return 0
    corpus, remember = set_up(world, config, run, run.search, arguments.accept_new_data)
    plan = Plan(
        stage=run.search,
        starts=lambda measure: begun_with(run, config, corpus.class_names, measure),
        strategy=config.strategy,
        inheritance=config.inheritance,
        stopping=config.stopping,
        tuning=config.tuning,
        combiner=config.combiner,
        search=config.search,
        training=config.training,
        augmentation=config.augmentation.scaled(config.augmentation.in_trials),
        budget=config.space.budget,
        objective=labels_together if config.combiner.trained_together else labels_alone,
        begin=lambda: begin(run, config, roles, found, remember, arguments.warm_start),
        refresh=lambda archive: archive_file.save(run.archive, archive),
        conclude=lambda archive: check_outcome(run, archive),
        job_end=end,
    )
    scored = replace(corpus, validation=corpus.validation.spread(config.search.score_examples))
    return run_stage(world, config, scored, plan)


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, bool, argparse.Namespace, bytes]:
    """Run directory, configuration, whether the search is complete already, the command line, and what the run's configuration
    says now.

    Changes nothing on disk.
    """
    arguments = _parser().parse_args(argv)
    path = arguments.config
    run = RunDir(arguments.run or Path("runs") / (path.stem if path else "default"))
    if not run.exists:
        config = configuration.load(path, arguments.set)
        warm_start.check(run, config, arguments.warm_start)
        run.create()
        return run, config, False, arguments, b""
    if not arguments.resume:
        raise RunError(f"{run.root}: holds a run already; --resume goes on with it, --run DIR begins another")
    found = run.config.read_bytes()
    begun = configuration.load(run.config)
    config = configuration.load(path, arguments.set) if path else configuration.load(run.config, arguments.set)
    places = configuration.PLACES if run.search.corpus.exists() else ()  # who knows its recordings knows them anywhere
    if changed := configuration.differences(begun, config, places):
        raise RunError(f"{run.root}: belongs to another configuration ({'; '.join(changed)}); --run DIR begins another run")
    warm_start.check(run, config, arguments.warm_start)
    run.create()
    if run.search.journal.exists():
        with unwritten(run.search.journal, "another program"):  # said now rather than when the features are there
            pass
    complete = run.search.complete.exists() and not _goes_further(config.search, begun.search)
    return run, config, complete, arguments, found


def given(config: Config, measure: Callable[[Architecture], Cost]) -> list[Proposal]:
    """What the search begins with: the user's suggestions, then the zoo's models."""
    suggestions = [Proposal(spell(text, BLOCK_TYPES), None, "suggestion") for text in config.search.suggestions]
    _check_room_for_features(config, measure)
    _say_what_the_target_leaves_out(config)
    found = [*suggestions, *zoo.starts(config.search.zoo, measure, config.space.budget, config.space.fit)]
    first = {proposal.architecture: proposal for proposal in reversed(found)}  # each once, under the first of its names
    return [proposal for proposal in found if first[proposal.architecture] is proposal]


def begun_with(
    run: RunDir, config: Config, class_names: Sequence[str], measure: Callable[[Architecture], Cost]
) -> list[Proposal]:
    """The same behind what a warm start takes over, if it does; says whom the search has no room for."""
    starts = warm_start.starts(run, config, class_names, measure, given(config, measure))
    if beyond := starts[config.search.max_trials :]:
        names = ", ".join(proposal.mutation for proposal in beyond)
        logger.warning("search.max_trials = %d: no trial is left for %s", config.search.max_trials, names)
    return starts


def _check_room_for_features(config: Config, measure: Callable[[Architecture], Cost]) -> None:
    """Which every tower needs: it would take a thousand towers in vain to say so."""
    space, most = config.space, config.space.max_arena_kb
    if not most or space.causal or space.tail:
        return
    if (least := measure(spell("identity", BLOCK_TYPES)).arena_kb) > most:
        raise ConfigError(
            f"space.max_arena_kb = {most:g}: a window's features alone take {least:.1f}; raise it, or take fewer "
            "features.bands or a longer features.hop_ms"
        )


def _say_what_the_target_leaves_out(config: Config) -> None:
    space = config.space
    if found := space.left_out:
        reasons = {reason: ", ".join(name for name in found if found[name] == reason) for reason in found.values()}
        said = "; ".join(f"{names} ({reason})" for reason, names in reasons.items())
        logger.info('space.target = "%s" leaves out the blocks %s', space.target, said)
    named = zoo.ZOO.values() if config.search.zoo in (("fitting",), ("all",)) else ()
    if models := [model.name for model in named if space.unfit(model.tower)]:
        logger.info('space.target = "%s" leaves out the zoo\'s %s', space.target, ", ".join(models))


def check_outcome(run: RunDir, archive: Archive) -> None:
    """Raise RunError if a search that is over found nothing, OutcomeError if most of its trials failed."""
    failed = [result for result in archive.results.values() if result.state is TrialState.FAILED]
    tried = sum(result.state is not TrialState.INFEASIBLE for result in archive.results.values())
    if archive.ranking and len(failed) >= MANY_FAILED and 2 * len(failed) > tried:
        why, times = Counter(_without_numbers(result.error) for result in failed).most_common(1)[0]
        first = next(result for result in failed if _without_numbers(result.error) == why)
        raise OutcomeError(
            f"{run.root}: {len(failed)} of {tried} trials failed, {times} of them like trial {first.trial} ({first.error}); "
            f"the others are kept. tools/top.py {run.root} --where state=failed --sort id --columns id,error lists them, "
            f"{run.log(0).parent} has more; with --resume and a larger search.max_trials it goes on"
        )
    if archive.ranking:
        return
    if not archive.results:
        raise RunError(f"{run.root}: no architecture fits [space] and its limits (max_params and so on); raise them")
    first = next(iter(archive.results.values()))
    raise RunError(f"{run.root}: none of {len(archive.results)} trials has a score; trial {first.trial}: {first.error}")


def _without_numbers(text: str) -> str:
    """So that two errors that differ in a rank or an epoch count as one."""
    return re.sub(r"\d+", "#", text)


def _goes_further(now: SearchConfig, before: SearchConfig) -> bool:
    """Whether a limit was raised or lifted."""
    limits = ((now.max_trials, before.max_trials), (now.max_steps, before.max_steps), (now.time_limit, before.time_limit))
    return any((new or math.inf) > (old or math.inf) for new, old in limits)


def begin(
    run: RunDir, config: Config, roles: Roles, found: bytes, remember: Callable[[], None], warm: Path | None = None
) -> None:
    """Write what the run is about to do, and say it; nobody else may be writing the run.

    Raises RunError if its configuration is no longer as it was ``found``: another job has begun the run meanwhile, and ended.
    """
    if (run.config.read_bytes() if run.exists else b"") != found:
        raise RunError(f"{run.root}: another job has begun this run meanwhile; --resume goes on with it")
    warm_start.begin(run, warm)
    with replacing(run.config) as part:
        part.write_text(configuration.dump(config), encoding="utf-8")
    run.search.complete.unlink(missing_ok=True)
    record_environment(run.environment, roles, engines.chosen(config.cluster))
    remember()
    logger.info("run %s: %d rank(s), %d group(s) of %d", run.root, roles.ranks, roles.groups, roles.group_size)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.search", description="Search for speech models under MPI.")
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; without it the defaults (built-in keywords)")
    parser.add_argument("--run", type=Path, help="run directory (default: runs/<name of the configuration>)")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    parser.add_argument("--resume", action="store_true", help="go on with the run if there is one, else begin it")
    parser.add_argument(
        "--warm-start", type=Path, metavar="RUN", help="begin with the best towers of another run, and with their weights"
    )
    add_accept_new_data(parser)
    add_time_limit(parser)
    return parser


if __name__ == "__main__":
    main()
