"""Every path of a run, and the rules for using a run directory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hpcnas.core.errors import RunError


@dataclass(frozen=True)
class Stage:
    """Where one stage of a run (search or ensemble) keeps its trials."""

    root: Path
    weights_name: str
    """Format of a weights file's path from the trial's number."""

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def running(self) -> Path:
        """How far running trials have come."""
        return self.root / "running.json"

    @property
    def corpus(self) -> Path:
        """Which recordings the stage was begun with."""
        return self.root / "corpus.json"

    @property
    def folders(self) -> list[Path]:
        """Where files of this stage are written."""
        return [self.root, self.root / "checkpoints", self.root / "donors", *self.root.glob("weights/*")]

    @property
    def mined(self) -> Path:
        """Windows without keywords that a model of the stage before took for some, which this one learns from."""
        return self.root / "mined.json"

    @property
    def settings(self) -> Path:
        """What the stage was begun with, where the run's configuration does not say."""
        return self.root / "settings.toml"

    @property
    def complete(self) -> Path:
        """Marker: this stage is done. An exit status alone can lie: a lost node can end mpirun with 0."""
        return self.root / "complete"

    def checkpoint(self, trial: int) -> Path:
        """Of a trial that was cut off, gone when it has a result."""
        return self.root / "checkpoints" / f"{trial:06d}.pt"

    def all_checkpoints(self) -> dict[int, Path]:
        """Files that there are, by their trial."""
        found = sorted((self.root / "checkpoints").glob("*.pt"))
        return {int(path.stem): path for path in found if path.stem.isdecimal()}

    def weights(self, trial: int) -> Path:
        return self.root / self.weights_name.format(folder=trial // 1000, trial=trial)

    @property
    def origins(self) -> Path:
        """Which models of another run the stage began with."""
        return self.root / "donors" / "origins.toml"

    def donor(self, number: int) -> Path:
        """Weights of one of them."""
        return self.root / "donors" / f"{number}.h5"

    def all_weights(self) -> dict[int, Path]:
        """Files that there are, by their trial."""
        found = sorted(self.root.glob(re.sub("{.*?}", "*", self.weights_name)))
        return {int(number[1]): path for path in found if (number := re.search(r"(\d+)\.h5$", path.name))}


@dataclass(frozen=True)
class RunDir:
    """A run's directory; docs/archive.md shows what lies where."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def archive(self) -> Path:
        return self.root / "archive.h5"

    @property
    def model_card(self) -> Path:
        return self.root / "model_card.json"

    def evaluation(self, name: str) -> Path:
        """Page of figures of one model."""
        return self.root / "report" / f"{name.replace(' ', '-')}.html"

    @property
    def search(self) -> Stage:
        return Stage(self.root, "weights/{folder:03d}/{trial:06d}.h5")

    @property
    def ensemble(self) -> Stage:
        return Stage(self.root / "ensemble", "member-{trial}.h5")

    def stage(self, name: str) -> Stage:
        """By the name that models go by."""
        return {"search": self.search, "ensemble": self.ensemble, "student": self.student, "compare": self.comparison}[name]

    @property
    def student(self) -> Stage:
        return Stage(self.root / "student", "student-{trial}.h5")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All that a run may have, the search first."""
        return self.search, self.ensemble, self.student, self.comparison

    @property
    def comparison(self) -> Stage:
        return Stage(self.root / "compare", "model-{trial}.h5")

    @property
    def standings(self) -> Path:
        """What the comparison came to."""
        return self.root / "compare" / "standings.json"

    @property
    def pruned(self) -> Path:
        """Trials whose weights a user gave up to save space, one a line."""
        return self.root / "pruned.txt"

    @property
    def pruned_trials(self) -> frozenset[int]:
        return frozenset(map(int, self.pruned.read_text().split())) if self.pruned.exists() else frozenset()

    @property
    def ensemble_file(self) -> Path:
        return self.root / "ensemble" / "ensemble.h5"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    def exported(self, name: str) -> Path:
        """Of a model for use elsewhere."""
        return self.root / "export" / name.replace(" ", "-")

    def log(self, rank: int) -> Path:
        return self.root / "logs" / f"rank-{rank:03d}.log"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config.exists()

    def create(self) -> None:
        """Make the directory and make sure that it can be written; raises RunError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RunError(f"{self.root}: cannot be written ({error.strerror}); choose another directory with --run") from error

    def require(self) -> None:
        """Raise RunError unless a run was begun here."""
        if not self.exists:
            raise RunError(f"{self.root}: holds no run (no config.toml); give the directory of a search")
