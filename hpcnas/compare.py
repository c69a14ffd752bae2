"""Models drawn by hand, and one's own, on one's own corpus under one recipe: the table that comes before any search. Under MPI.

    mpirun -np 8 python -m hpcnas.compare [CONFIG.toml] [--models zoo|all|best|NAME|NAME=ARCHITECTURE ...] [--seeds 3]
        [--run DIR] [--resume] [--set table.key=value ...] [--time-limit HH:MM:SS] [--json]

Each model is trained from scratch, ``--seeds`` times for ``ensemble.epochs`` epochs, as the ensemble stage trains its members;
groups work side by side. ``zoo``: those of the zoo that keep the limits of ``[space]``; ``all``: all of it; ``best``: what the
run's search found. Interrupted, it resumes at the first unfinished training; called again with more models or seeds, it adds
them.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core.archive import Archive
from hpcnas.core.contest import schedule, stand
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.core.strategies import Lineup
from hpcnas.judging import standings
from hpcnas.judging.standings import Outcome, Row
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.cost import CostTable, core_latency_ms
from hpcnas.nn.folding import folded
from hpcnas.nn.model import build_model
from hpcnas.runtime import engines
from hpcnas.runtime.contestants import contestants, judged, named, trainings_of
from hpcnas.runtime.environment import record_environment
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.own_corpus import add_accept_new_data
from hpcnas.runtime.plan import final_plan
from hpcnas.runtime.roles import Roles
from hpcnas.runtime.stage import run_stage, set_up
from hpcnas.runtime.together import on_first_rank
from hpcnas.runtime.walltime import add_time_limit, job_end
from hpcnas.showing.terminal import console
from hpcnas.store.files import replacing
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What all trainings of a comparison have in common, beside the run's configuration."""

    epochs: int
    quantised: bool

    @classmethod
    def of(cls, config: Config) -> Settings:
        return cls(config.ensemble.epochs, config.ensemble.quantised)


def main(argv: Sequence[str] | None = None) -> None:
    run_program(compare, argv)


def compare(world: MPI.Intracomm, argv: Sequence[str]) -> int:
    """Train what is missing and print the table; returns the exit status."""
    run, config, arguments = on_first_rank(world, lambda: prepare(argv))
    end = on_first_rank(world, lambda: job_end(arguments.time_limit))
    set_up_logging(run, world.rank)
    corpus, remember = set_up(world, config, run, run.comparison, arguments.accept_new_data)
    lineup, left_out, is_complete = on_first_rank(world, lambda: arrange(run, config, corpus, arguments))
    roles = Roles(world.size, config.search.group_size)
    status = 0
    if not is_complete:
        plan = final_plan(
            config,
            run.comparison,
            lineup,
            config.ensemble.epochs,
            begin=lambda: begin(run, config, roles, remember),
            conclude=lambda archive: conclude(run, config, corpus, archive, left_out),
            job_end=end,
        )
        status = run_stage(world, config, corpus, plan)
    if world.rank == 0 and status == 0:
        tell(run, arguments.json)
    return status


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, argparse.Namespace]:
    """Run directory, configuration and what else was asked for. Changes nothing in a run that there is."""
    arguments = _parser().parse_args(argv)
    path = arguments.config
    run = RunDir(arguments.run or Path("runs") / (path.stem if path else "default"))
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds {arguments.seeds}: must be at least 1")
    if run.comparison.journal.exists() and not arguments.resume:
        raise RunError(f"{run.comparison.root}: holds a comparison already; --resume goes on with it, or adds to it")
    config = configuration.load(path if path or not run.exists else run.config, arguments.set)
    places = configuration.PLACES if run.search.corpus.exists() or run.comparison.corpus.exists() else ()
    if run.exists and (changed := configuration.differences(configuration.load(run.config), config, places)):
        raise RunError(f"{run.root}: belongs to another configuration ({'; '.join(changed)}); --run DIR begins another run")
    named(arguments.models)
    run.create()
    return run, config, arguments


def arrange(run: RunDir, config: Config, corpus: Corpus, arguments: argparse.Namespace) -> tuple[Lineup, dict[str, str], bool]:
    """What is to be trained, why other models are left out, and whether all is done already."""
    table = CostTable(config.space.surroundings(corpus.bands, len(corpus.class_names)), corpus.window)
    archive = archive_of(run.comparison.journal)
    begun = [trial.proposal for _, trial in sorted(archive.trials.items())]
    towers, left_out = contestants(run, config.space.budget, table.measure, arguments.models)
    for proposal in begun:
        name = proposal.mutation
        if towers.setdefault(name, proposal.architecture) != proposal.architecture:
            raise RunError(
                f'{run.comparison.root}: "{name}" was begun as {proposal.architecture}; give the other one another name, or '
                "remove the folder to begin anew"
            )
        left_out.pop(name, None)
    if not towers:
        limits = ", ".join(f"space.{limit} = {most:.10g}" for limit, most in vars(config.space.budget).items() if most)
        raise ConfigError(f"no model of the zoo keeps {limits}; raise it, or give --models all or names")
    work = {name: table.measure(tower).macs for name, tower in towers.items()}
    proposals = schedule(begun, towers, arguments.seeds, work)
    configuration.check_remembered(run.comparison.settings, Settings.of(config), "ensemble")
    missing = len(proposals) - len(archive.results)
    is_complete = not missing and run.standings.exists() and run.comparison.complete.exists()
    logger.info("%s: %d models, %d trainings to go", run.comparison.root, len(towers), missing)
    return Lineup(proposals), left_out, is_complete


def begin(run: RunDir, config: Config, roles: Roles, remember: Callable[[], None]) -> None:
    """Write what the stage, and a new run, is begun with; nobody else may be writing it."""
    if not run.exists:
        with replacing(run.config) as part:
            part.write_text(configuration.dump(config), encoding="utf-8")
        record_environment(run.environment, roles, engines.chosen(config.cluster))
    remember()
    configuration.remember(run.comparison.settings, Settings.of(config), "ensemble")
    run.comparison.complete.unlink(missing_ok=True)


def conclude(run: RunDir, config: Config, corpus: Corpus, archive: Archive, left_out: Mapping[str, str]) -> None:
    """Store what the stage's archive comes to, and write the page."""
    trainings = trainings_of(archive)
    failures: dict[str, str] = {}
    for id_, result in sorted(archive.results.items()):
        if not result.state.has_score:
            name = archive.trials[id_].proposal.mutation
            logger.warning("%s: training %d failed: %s", name, id_, result.error)
            failures[name] = result.error
    if not trainings:
        raise RunError(f"{run.comparison.root}: every training failed; {next(iter(failures.values()))}")
    why = {**left_out, **{name: f"every training failed: {e}" for name, e in failures.items() if name not in trainings}}
    models = [judged(run.comparison, archive, name) for name in trainings]
    around = config.space.surroundings(corpus.bands, len(corpus.class_names))
    rows = []
    for standing in stand(models, corpus.test.labels):
        results = [archive.results[id_] for id_ in trainings[standing.name]]
        tower = archive.trials[results[0].trial].architecture
        model = folded(build_model(tower, around, seed=0))
        rows.append(
            Row(
                standing,
                str(tower),
                results[0].cost.params,
                results[0].cost.macs,
                core_latency_ms(model, corpus.bands, corpus.window),
                float(np.mean([result.seconds for result in results])),
                results[0].cost.flash_kb,
                results[0].cost.arena_kb,
            )
        )
    outcome = Outcome(rows, why, len(corpus.test.labels), config.ensemble.epochs)
    standings.save(run.standings, outcome)
    standings.write_page(run.evaluation("compare"), run.root.resolve().name, outcome)


def tell(run: RunDir, as_json: bool) -> None:
    """Print the table."""
    outcome = standings.load(run.standings)
    if as_json:
        print(json.dumps(standings.as_values(outcome), indent=1), flush=True)
        return
    standings.show(console(), outcome)
    print(f"page: {run.evaluation('compare')}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hpcnas.compare",
        description="Train models drawn by hand, and your own, on your corpus under one recipe.",
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file; without it the run's own, or the defaults")
    parser.add_argument(
        "--models", nargs="+", default=["zoo"], metavar="NAME",
        help="zoo: those within the limits (default); all; best: the run's searched model; names; or NAME=ARCHITECTURE",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each model (default: 3)")
    parser.add_argument("--run", type=Path, help="run directory (default: runs/<name of the configuration>)")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    parser.add_argument("--resume", action="store_true", help="go on with a comparison, or add to it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_accept_new_data(parser)
    add_time_limit(parser)
    return parser


if __name__ == "__main__":
    main()
