"""A run in a notebook: its trials, and its models with their weights. Nothing is written, and no MPI is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcnas.core.archive import Archive
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

if TYPE_CHECKING:
    from torch import nn

    from hpcnas.config import Config
    from hpcnas.use.classifier import Classifier


@dataclass(frozen=True)
class TrialRow:
    """A trial and what came of it; figures are NaN or 0 while it is running."""

    id: int
    state: str
    """``running``, ``completed``, ``stopped``, ``paused``, ``infeasible`` or ``failed``."""
    score: float
    """The search's objective on the validation split; higher is better."""
    loss: float
    """Cross entropy there, in nats."""
    params: int
    macs: int
    """Multiply-accumulates for one example."""
    depth: int
    parent: int | None
    mutation: str
    epochs: int
    seconds: float
    architecture: str


class Run:
    """A run's directory, finished or while the search goes on; what is asked for is read anew each time.

    Raises:
        RunError: if no run was begun there.
    """

    def __init__(self, path: str | Path) -> None:
        self.dir = RunDir(Path(path))
        self.dir.require()

    def __repr__(self) -> str:
        return f"Run({str(self.dir.root)!r})"

    @property
    def archive(self) -> Archive:
        """All trials and results as the search knows them: ranking, lineage, curves."""
        return archive_of(self.dir.search.journal)

    @property
    def config(self) -> Config:
        """What the run was begun with."""
        from hpcnas import config as configuration

        return configuration.load(self.dir.config)

    def trials(self) -> list[TrialRow]:
        """One row a trial, oldest first: ``pandas.DataFrame(run.trials())``."""
        archive, nan = self.archive, float("nan")
        rows = []
        for id_, trial in sorted(archive.trials.items()):
            result = archive.results.get(id_)
            figures = (
                ("running", nan, nan, 0, 0)
                if result is None
                else (result.state.value, result.score, result.loss, result.cost.params, result.cost.macs)
            )
            origin = (trial.architecture.depth, trial.proposal.parent, trial.proposal.mutation)
            spent = (result.epochs, result.seconds) if result else (0, nan)
            rows.append(TrialRow(id_, *figures, *origin, *spent, str(trial.architecture)))
        return rows

    def classifier(self, name: str | int = "ensemble") -> Classifier:
        """A model with what stands in front of it, ready for audio.

        Args:
            name: ``ensemble``, ``best``, ``member 0``, ``baseline``, ``student``, or the number of a trial.

        Raises:
            RunError: if the run has no such model, or no weights of it any more.
        """
        from hpcnas.use.classifier import Classifier

        return Classifier.open(self.dir, str(name))

    def model(self, name: str | int = "best") -> nn.Module:
        """The torch module alone, with its weights: from normalised features (B, F, T) to logits (B, K)."""
        mixture = self.classifier(name).model
        return mixture.models[0] if len(mixture.models) == 1 else mixture
