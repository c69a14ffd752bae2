"""A search that begins with what another run found: its best towers are tried first, and start from the weights that they have
there.

They come from the ensemble's members, which were trained longest, and from the best trials of several lines of descent. The
weights are copied, so that the other run is read once, never written to, and not needed again. What stands behind the searched
blocks starts anew where it is not the same: the classifier, if the classes differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from hpcnas import config as configuration
from hpcnas.config import Config, SpaceConfig
from hpcnas.core.architecture import Architecture
from hpcnas.core.errors import ArchitectureError, RunError
from hpcnas.core.fitting import shrunk
from hpcnas.core.inheritance import NoInheritance
from hpcnas.core.strategies.finals import of_several_lines
from hpcnas.core.trial import WARM, Cost, Proposal
from hpcnas.store import ensemble_file, journal_reader, model_card, origins_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.origins_file import Origin, Origins
from hpcnas.store.run_dir import RunDir, Stage

logger = logging.getLogger(__name__)

MODELS = 8
"""So many are taken over, but no more than a third of the search's trials."""
LOOKED_AT = 100
"""They are of so many best trials, where some do not fit the space."""
TOLD = 5
"""So many that are left out are named."""

Measure = Callable[[Architecture], Cost]


def check(run: RunDir, config: Config, given: Path | None) -> None:
    """Raises RunError unless ``run``, which may be new, can begin with the run ``given``, or go on with it or, for None, with
    the one that it began with. Changes nothing."""
    if given is not None and given.resolve() == run.root.resolve():
        raise RunError(f"--warm-start {given}: is the run itself; --resume goes on with it")
    if not (run.exists and run.search.origins.exists()):
        if given is not None and run.exists and journal_reader.last(run.search.journal):
            raise RunError(f"--warm-start {given}: {run.root} was begun without; --run DIR begins another run")
        if given is not None:
            _check_other(config, RunDir(given))
        return
    origins = origins_file.load(run.search.origins)
    if given is not None and str(given.resolve()) != origins.run:
        raise RunError(f"--warm-start {given}: {run.root} was begun with {origins.run}; --run DIR begins another run")
    if not origins.is_chosen:
        _check_other(config, RunDir(Path(origins.run)))
    copies = [run.search.donor(number) for number, model in enumerate(origins.models) if model.has_weights]
    if not run.search.complete.exists() and (missing := [path for path in copies if not path.exists()]):
        raise RunError(f"{missing[0]}: the weights that the search began with are missing; restore them, or begin another run")


def _check_other(config: Config, other: RunDir) -> None:
    other.require()
    before, now = asdict(configuration.load(other.config).features), asdict(config.features)
    if changed := [f"features.{key} = {before[key]!r} there, {now[key]!r} here" for key in now if before[key] != now[key]]:
        raise RunError(f"--warm-start {other.root}: its models hear otherwise ({'; '.join(changed)}); give the same [features]")
    if not archive_of(other.search.journal).ranking:
        raise RunError(f"--warm-start {other.root}: no trial has a score there")


def begin(run: RunDir, given: Path | None) -> None:
    """Write down what the search begins with, before anything else says that it has begun."""
    if run.exists and run.search.origins.exists():
        return
    if given is None:
        run.search.origins.unlink(missing_ok=True)  # of a start that was killed before there was a run
    else:
        origins_file.save(run.search.origins, Origins(str(given.resolve())))


def starts(
    run: RunDir, config: Config, class_names: Sequence[str], measure: Measure, others: Sequence[Proposal]
) -> list[Proposal]:
    """What the search begins with; nothing where it begins cold.

    What is chosen, when this is first called, is written down with its weights.

    Args:
        others: what it would begin with else: their blocks count as the space's.

    Raises:
        RunError: if none of the other run's towers can be tried in this one.
    """
    if not run.search.origins.exists():
        return list(others)
    origins = origins_file.load(run.search.origins)
    if not origins.is_chosen:
        other = RunDir(Path(origins.run))
        _check_other(config, other)
        origins = _taken_over(run.search, other, config, class_names, _chosen(other, config, measure, others))
        origins_file.save(run.search.origins, origins)
    warm = [
        Proposal(
            Architecture.parse(model.architecture), None, f"{WARM}{model.model}", donor=number if model.has_weights else None
        )
        for number, model in enumerate(origins.models)
    ]
    return [*warm, *(proposal for proposal in others if proposal.mutation not in origins.tried)]


def _chosen(other: RunDir, config: Config, measure: Measure, others: Sequence[Proposal]) -> dict[str, Architecture]:
    """Towers to be taken over, by the model's stage and number; says what is left out of the best."""
    kinds = {kind.kind for kind in config.space.build().types}
    kinds |= {block.kind for proposal in others for block in proposal.architecture.blocks}
    members = dict(_members(other))
    archive = archive_of(other.search.journal)
    best = [trial for trial in archive.best(LOOKED_AT) if trial.architecture not in members.values()]
    towers = {**members, **{f"search/{trial.id}": trial.architecture for trial in best}}
    left_out = {name: why for name, tower in towers.items() if (why := _objection(tower, config, kinds, measure))}
    told = [f"{name} ({why})" for name, why in left_out.items()]
    listed = ", ".join(told[:TOLD]) + (f" and {len(told) - TOLD} more" if len(told) > TOLD else "")
    fitting = [trial for trial in best if f"search/{trial.id}" not in left_out]
    most = min(MODELS, max(1, config.search.max_trials // 3))
    lined = of_several_lines(archive, fitting, most)
    chosen = [*(name for name in members if name not in left_out), *(f"search/{trial.id}" for trial in lined)][:most]
    if not chosen:
        raise RunError(f"--warm-start {other.root}: none of its best towers can be tried here: {listed}; widen [space]")
    if told:
        logger.info("warm start: of the best of %s are left out: %s", other.root, listed)
    return {name: towers[name] for name in chosen}


def _objection(tower: Architecture, config: Config, kinds: set[str], measure: Measure) -> str:
    """Why a tower is none for this search; empty if it is one, though perhaps made narrower."""
    space, budget = config.space.build(), config.space.budget
    if tower.depth > space.max_depth:
        return f"{tower.depth} blocks, over max_depth = {space.max_depth}"
    if foreign := [block.kind for block in tower.blocks if block.kind not in kinds]:
        return f"block {foreign[0]} is not in space.blocks"
    if objection := config.space.unfit(tower):
        return objection
    try:
        objection = budget.objection(measure(tower))
    except ArchitectureError as error:
        return str(error).removeprefix(f"{tower}: ")

    def is_within(narrower: Architecture) -> bool:
        try:
            return not budget.objection(measure(narrower))
        except ArchitectureError:
            return False

    return "" if objection and space.fit and shrunk(tower, space, is_within) else objection


def _members(other: RunDir) -> Iterator[tuple[str, Architecture]]:
    """Of the ensemble, if there is one: the first of each tower."""
    seen = set()
    for member in ensemble_file.load(other.ensemble_file).members if other.ensemble_file.exists() else ():
        path = other.stage(member.stage).weights(member.trial)
        if path.exists() and (tower := weights.load_architecture(path)) not in seen:
            seen.add(tower)
            yield member.label, tower


def _taken_over(
    stage: Stage, other: RunDir, config: Config, class_names: Sequence[str], chosen: dict[str, Architecture]
) -> Origins:
    """The models by their number in the stage, their weights copied."""
    theirs, card = configuration.load(other.config), model_card.load(other.model_card)
    archive = archive_of(other.search.journal)
    new = _parts_that_differ(theirs.space, config.space, tuple(card.class_names) == tuple(class_names))
    gone = []
    for number, (name, tower) in enumerate(chosen.items()):
        place, _, trial = name.rpartition("/")
        try:
            arrays = weights.load_arrays(other.stage(place).weights(int(trial)))
        except RunError:
            gone.append(name)
            continue
        origins_file.bring(stage, number, tower, {key: of for key, of in arrays.items() if not key.startswith(new)})
    if gone:
        logger.warning("warm start: the weights of %s are gone or damaged: these towers start at random", ", ".join(gone))
    if isinstance(config.inheritance, NoInheritance):
        logger.warning('warm start: inheritance.name = "none": all towers start at random')
    anew = f"; new: {', '.join(part.rstrip('.') for part in new)}" if new else ""
    logger.info("warm start: %d tower(s) of %s, %d with weights%s", len(chosen), other.root, len(chosen) - len(gone), anew)
    models = [Origin(name, str(tower), name not in gone) for name, tower in chosen.items()]
    before = origins_file.load(other.search.origins).tried if other.search.origins.exists() else ()
    scored = (archive.trials[result.trial].proposal.mutation for result in archive.ranking)
    tried = {mutation.partition(",")[0] for mutation in scored if mutation.startswith("zoo ")}
    return Origins(str(other.root), True, models, sorted({*before, *tried}))


def _parts_that_differ(theirs: SpaceConfig, ours: SpaceConfig, is_same_classes: bool) -> tuple[str, ...]:
    """Prefixes of the arrays behind the searched blocks that mean something else there."""
    parts = {
        "tail.": theirs.tail_blocks == ours.tail_blocks,
        "head.": theirs.head == ours.head,
        "classifier.": is_same_classes,
    }
    return tuple(part for part, is_same in parts.items() if not is_same)
