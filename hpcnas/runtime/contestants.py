"""Which models a comparison is between: of the zoo, of the user, and what a search found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.budget import Budget
from hpcnas.core.contest import Contestant
from hpcnas.core.errors import ArchitectureError, ConfigError, RunError
from hpcnas.core.space import spell
from hpcnas.core.trial import Cost
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir, Stage
from hpcnas.zoo import ZOO, chosen, objections

SEARCHED = "searched"
"""What ``best`` is called in the table."""
_OWN = re.compile(r"(?P<name>[\w.-]+)=(?P<architecture>.+)")


def named(words: Sequence[str]) -> list[str]:
    """The models that are asked for; raises ConfigError for a name that means nothing."""
    found = []
    for word in words:
        parts = [word] if "=" in word else [part.strip() for part in word.split(",") if part.strip()]
        for part in parts:
            if part in ("zoo", "all", "best"):
                found.append(part)
            elif own := _OWN.fullmatch(part):
                if own["name"] in (*ZOO, SEARCHED):
                    raise ConfigError(f'--models {part}: "{own["name"]}" is taken; choose another name')
                try:
                    spell(own["architecture"], BLOCK_TYPES)
                except ArchitectureError as error:
                    raise ConfigError(f"--models {part}: {error}") from error
                found.append(part)
            else:
                found += [model.name for model in chosen([part])]
    return found


def contestants(
    run: RunDir, budget: Budget, measure: Callable[[Architecture], Cost], words: Sequence[str]
) -> tuple[dict[str, Architecture], dict[str, str]]:
    """Towers by name, and models of the zoo that are left out, with the reason.

    Args:
        budget: the limits that ``zoo`` means.
        measure: the cost of a tower; raises ArchitectureError.
        words: what ``named`` takes.
    """
    towers: dict[str, Architecture] = {}
    left_out: dict[str, str] = {}
    for word in named(words):
        if word in ("zoo", "all"):
            why = objections(measure, budget if word == "zoo" else Budget())
            towers.update({name: ZOO[name].tower for name, reason in why.items() if not reason})
            left_out.update({name: reason for name, reason in why.items() if reason})
        elif word == "best":
            towers[SEARCHED] = searched(run)
        else:
            name, _, own = word.partition("=")
            towers[name] = spell(own, BLOCK_TYPES) if own else ZOO[name].tower
            try:
                measure(towers[name])
            except ArchitectureError as error:
                raise ConfigError(f"--models {name}: {str(error).removeprefix(f'{towers[name]}: ')}") from error
    return towers, {name: reason for name, reason in left_out.items() if name not in towers}


def trainings_of(archive: Archive) -> dict[str, list[int]]:
    """Which trainings of a comparison have a score, by the model's name, oldest first."""
    found: dict[str, list[int]] = {}
    for id_, result in sorted(archive.results.items()):
        if result.state.has_score:
            found.setdefault(archive.trials[id_].proposal.mutation, []).append(id_)
    return found


def judged(stage: Stage, archive: Archive, name: str) -> Contestant:
    """What the trainings of the model of that name came to."""
    ids = trainings_of(archive)[name]
    results = [archive.results[id_] for id_ in ids]
    logits = [weights.load_logits(stage.weights(id_), "test") for id_ in ids]
    return Contestant(name, tuple(one.loss for one in results), tuple(one.merit for one in results), np.stack(logits))


def searched(run: RunDir) -> Architecture:
    """The tower that counts most in the run's ensemble: the winner of the finals where they are averaged, the search's best
    behind the others of its team; or else the search's best. Raises RunError if there is neither."""
    if run.ensemble_file.exists():
        members = ensemble_file.load(run.ensemble_file).members
        most = max(reversed(members), key=lambda member: member.weight)
        return weights.load_architecture(run.stage(most.stage).weights(most.trial))
    best = archive_of(run.search.journal).best()
    if not best:
        raise RunError(f"{run.root}: --models best: no search has a result here yet; run hpcnas.search first")
    return best[0].architecture
