"""New keywords, or other classes, for a finished model, from a few recordings of each, under MPI.

    mpirun -np 3 python -m hpcnas.adapt RUN_OR_MODEL --to FOLDER_OR_CONFIG [--run DIR] [--model NAME] [--shots N]
        [--train all|head] [--set table.key=value ...]

Each member of the model is trained further under a new classifier, with the front end and the normalisation that it knows;
beside it the same tower is trained from scratch on the same recordings, side by side if there are two groups. What is adapted
becomes the ensemble of a new run, for ``evaluate``, ``detect`` and ``export``. Interrupted, the same command goes on at the
first unfinished training.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.config import Config
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.core.inheritance import Parent
from hpcnas.core.significance import mcnemar, share_interval
from hpcnas.core.strategies import Lineup
from hpcnas.core.trial import Proposal, Trial
from hpcnas.data.target import data_of
from hpcnas.nn.adaptation import PARTS, few
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.front_end import FrontEnd
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.model import Model
from hpcnas.nn.training import Trainer
from hpcnas.runtime import engines
from hpcnas.runtime.environment import record_environment
from hpcnas.runtime.launch import run_program, set_up_logging
from hpcnas.runtime.models import stored_logits
from hpcnas.runtime.own_corpus import add_accept_new_data
from hpcnas.runtime.plan import FINAL_SPLITS, final_plan
from hpcnas.runtime.roles import Roles
from hpcnas.runtime.stage import run_stage, set_up
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.runtime.walltime import add_time_limit, job_end
from hpcnas.store import ensemble_file, origins_file, toml_file
from hpcnas.store.ensemble_file import EnsembleFile, Member
from hpcnas.store.files import replacing
from hpcnas.store.journal import replay
from hpcnas.store.model_file import StoredModel
from hpcnas.store.origins_file import Origin, Origins
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier, opened

logger = logging.getLogger(__name__)

MAY_DIFFER = ("data.", "augmentation.", "training.", "seed ")
"""What may be set otherwise than in the run that the model comes from, beside ``adaptation``."""


@dataclass(frozen=True)
class Source:
    """The finished model, as far as it is taken over.

    Args:
        place: where it was found.
        labels: of its members: stage and number.
        shares: of their logits.
    """

    place: str
    labels: Sequence[str]
    shares: Sequence[float]
    stored: Sequence[StoredModel]
    class_names: Sequence[str]
    front_end: FrontEnd

    @classmethod
    def of(cls, place: Path, model: Classifier) -> Source:
        labels, shares = [member.label for member in model.members], [member.weight for member in model.members]
        return cls(str(place.resolve()), labels, shares, model.stored, tuple(model.class_names), model.front_end)


def main(argv: Sequence[str] | None = None) -> None:
    run_program(adapt, argv)


def adapt(world: MPI.Intracomm, argv: Sequence[str]) -> int:
    """Adapt the model; returns the exit status."""
    run, config, source, arguments = on_first_rank(world, lambda: prepare(argv))
    end = on_first_rank(world, lambda: job_end(arguments.time_limit))
    set_up_logging(run, world.rank)
    if run.ensemble.complete.exists() and run.ensemble_file.exists():
        if world.rank == 0:
            logger.info("%s: the model is adapted already; --run DIR adapts it once more", run.root)
        return 0
    corpus, remember = set_up(world, config, run, run.ensemble, arguments.accept_new_data, source.front_end)
    batch = config.training.batch_size * config.search.group_size
    train = on_every_rank(world, lambda: few(corpus.train, corpus.class_names, config.adaptation, batch, config.seed))
    lineup, roles = lineup_of(config, source), Roles(world.size, config.search.group_size)
    plan = final_plan(
        config,
        run.ensemble,
        lineup,
        config.adaptation.epochs,
        inheritance=Parent(),
        ready=lambda trial, model: ready(config, trial, model),
        begin=lambda: begin(run, config, source, corpus, lineup, roles, remember),
        conclude=lambda archive: conclude(run, config, corpus, source, lineup, archive),
        job_end=end,
    )
    return run_stage(world, config, replace(corpus, train=train), plan)


def prepare(argv: Sequence[str]) -> tuple[RunDir, Config, Source, argparse.Namespace]:
    """The new run's directory and configuration, the model that is adapted, and the command line. Changes nothing in a run that
    there is."""
    arguments = _parser().parse_args(argv)
    model = opened(arguments.model_of, arguments.model)
    source, config = Source.of(arguments.model_of, model), configured(model.config, arguments)
    name = f"{arguments.model_of.resolve().stem}-{arguments.to.resolve().stem}"
    run = RunDir(arguments.run or Path("runs") / name)
    if run.exists:
        if not run.ensemble.origins.exists():
            raise RunError(f"{run.root}: holds another run; --run DIR names a new one")
        if (before := origins_file.load(run.ensemble.origins)) != origins_of(source):
            raise RunError(f"{run.root}: was begun with another model ({before.run}: {before.models[0].model}, ...); --run DIR")
        places = configuration.PLACES if run.ensemble.corpus.exists() else ()
        if changed := configuration.differences(configuration.load(run.config), config, places):
            raise RunError(f"{run.root}: was begun otherwise ({'; '.join(changed)}); --run DIR begins another run")
    configuration.check_remembered(run.ensemble.settings, config.adaptation, "adaptation")
    check_begun(run, lineup_of(config, source))
    run.create()
    return run, config, source, arguments


def configured(own: Config, arguments: argparse.Namespace) -> Config:
    """The model's own configuration with the speech that it is adapted to."""
    to = arguments.to
    table = toml_file.parse(configuration.dump(own))
    kept = {key: table["data"][key] for key in ("cache", "window_s", "longest_s")}
    if to.is_dir():
        given: dict = {"data": data_of(to, own.data)}
    elif to.suffix == ".toml":
        given = toml_file.load(to)
        if "data" not in given:
            raise ConfigError(f"{to}: has no table [data], which is what a model is adapted to")
    else:
        raise ConfigError(f"--to {to}: is neither a folder of recordings nor a .toml file")
    for key in ("features", "adaptation"):
        table[key] |= given.get(key, {})
    overrides = [f"adaptation.{key}={value}" for key in ("shots", "train") if (value := getattr(arguments, key)) is not None]
    changed_text = toml_file.spell({**table, "data": {**kept, **given["data"]}})
    config = configuration.parsed(changed_text, str(to), [*arguments.set, *overrides])
    changed = configuration.differences(own, config)
    if foreign := [change for change in changed if not change.startswith(MAY_DIFFER)]:
        raise ConfigError(f"--to {to}: {'; '.join(foreign)}: the model is what it is; only data, adaptation, training, "
                          "augmentation and seed may be set")  # fmt: skip
    return config


def lineup_of(config: Config, source: Source) -> Lineup:
    """What is trained: each member on, and each from scratch."""
    rate = config.adaptation.rate * config.training.learning_rate
    settings = (("learning_rate", rate),) if config.adaptation.train == "all" else ()
    towers = [one.architecture for one in source.stored]
    adapted = tuple(Proposal(tower, None, "adapted", settings, donor=number) for number, tower in enumerate(towers))
    return Lineup(adapted, tuple(Proposal(tower, None, "anew", role="anew") for tower in towers if config.adaptation.control))


def ready(config: Config, trial: Trial, model: Model) -> None:
    """Where the head alone learns, keep the tower as it is."""
    if config.adaptation.train == "head" and trial.proposal.donor is not None:
        model.freeze_tower()


def origins_of(source: Source) -> Origins:
    models = [Origin(label, str(one.architecture), True) for label, one in zip(source.labels, source.stored)]
    return Origins(source.place, True, tuple(models))


def check_begun(run: RunDir, lineup: Lineup) -> None:
    """Raise RunError if the stage was begun for other trainings."""
    for trial in (record.event for record in replay(run.ensemble.journal) if isinstance(record.event, Trial)):
        if trial.id >= lineup.trials or trial.proposal != lineup.given[trial.id]:
            raise RunError(
                f"{run.ensemble.root}: was begun for other trainings (trial {trial.id}); --run DIR begins another run"
            )


def begin(
    run: RunDir,
    config: Config,
    source: Source,
    corpus: Corpus,
    lineup: Lineup,
    roles: Roles,
    remember: Callable[[], None],
) -> None:
    """Write what a new run is begun with, the model's weights among it; nobody else may be writing it."""
    check_begun(run, lineup)
    if not run.exists:
        new = () if tuple(corpus.class_names) == source.class_names else ("classifier.",)
        for number, one in enumerate(source.stored):
            arrays = {name: array for name, array in one.arrays.items() if not name.startswith(new)}
            origins_file.bring(run.ensemble, number, one.architecture, arrays)
        origins_file.save(run.ensemble.origins, origins_of(source))
        record_environment(run.environment, roles, engines.chosen(config.cluster))
        with replacing(run.config) as part:
            part.write_text(configuration.dump(config), encoding="utf-8")
    configuration.remember(run.ensemble.settings, config.adaptation, "adaptation")
    remember()


def conclude(run: RunDir, config: Config, corpus: Corpus, source: Source, lineup: Lineup, archive: Archive) -> None:
    """Store the adapted model, and say what it is worth beside one that was trained from scratch."""
    adapted = lineup.ensemble(archive)
    if not adapted:
        raise RunError(f"{run.ensemble.root}: every training failed; see {run.ensemble.journal}")
    total = sum(source.shares[trial.id] for trial in adapted)
    members = [Member("ensemble", trial.id, source.shares[trial.id] / total) for trial in adapted]
    labels = {split: getattr(corpus, split).labels for split in FINAL_SPLITS}
    around = config.space.surroundings(corpus.bands, len(corpus.class_names))
    trainer = Trainer(corpus, SoloGroup(), config.training)

    def mean(of: Sequence[Member]) -> dict[str, np.ndarray]:
        """(N, K) weighted logits per split."""
        stored = [stored_logits(run.ensemble.weights(one.trial), FINAL_SPLITS, around, trainer) for one in of]
        return {s: np.asarray(sum(one.weight * logits[s] for one, logits in zip(of, stored))) for s in FINAL_SPLITS}

    logits = mean(members)
    ensemble_file.save(run.ensemble_file, EnsembleFile(members, logits, labels, corpus.class_names))
    is_right = logits["test"].argmax(1) == labels["test"]
    logger.info("adapted: %s, stored in %s", _told(is_right), run.ensemble_file)
    beside = [Member("ensemble", one.id + len(source.stored), source.shares[one.id] / total) for one in adapted]
    if all(one.trial in archive.results and archive.results[one.trial].state.has_score for one in beside):
        anew = mean(beside)["test"].argmax(1) == labels["test"]
        logger.info("trained anew: %s; as often right: p = %.4f (McNemar's exact test)", _told(anew), mcnemar(is_right, anew))


def _told(is_right_N: np.ndarray) -> str:
    share, count = float(is_right_N.mean()), len(is_right_N)
    low, high = share_interval(share, count)
    return f"test accuracy {share:.4f} ({low:.4f} to {high:.4f}, {count} recordings)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hpcnas.adapt", description="Give a finished model other classes, from a few recordings of each."
    )
    parser.add_argument("model_of", type=Path, metavar="RUN_OR_MODEL", help="run directory, or an exported state_dict file")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER_OR_CONFIG", help="folder of words, or TOML file whose [data] counts"
    )
    parser.add_argument("--run", type=Path, help="directory of the new run (default: runs/<name of the old>-<name of --to>)")
    parser.add_argument("--model", help="of the run (default: ensemble)")
    parser.add_argument("--shots", type=int, metavar="N", help="training recordings of each class (default: all)")
    parser.add_argument("--train", choices=PARTS, help="everything at a low rate, or the head alone (default: all)")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="override; may be repeated")
    add_accept_new_data(parser)
    add_time_limit(parser)
    return parser


if __name__ == "__main__":
    main()
