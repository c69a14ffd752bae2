"""A run in TensorBoard or MLflow: its journal is read, after the search or while it goes on. Starts no MPI.

    python -m hpcnas.track RUN --to tensorboard|mlflow [--place FOLDER_OR_URI] [--follow]

Told are the search, as series over its results (best score so far, score, loss, parameters, seconds), and each trial's score
after every epoch with its architecture and settings. The search itself knows neither TensorBoard nor MLflow.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpcnas.core.archive import Archive
from hpcnas.core.errors import ExportError
from hpcnas.core.trial import Result, Trial
from hpcnas.showing.terminal import outer_edge, plain, seconds
from hpcnas.store import toml_file
from hpcnas.store.journal import Record
from hpcnas.store.journal_reader import Tail, last
from hpcnas.store.run_dir import RunDir

BEST = 20
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
"""MLflow's setting: with its default a server that is not there is asked for minutes."""


@dataclass(frozen=True)
class News:
    """A result, and how the search stands with it."""

    number: int
    """Of the result, counted from 1."""
    time_s: float
    """Seconds since the epoch, as if the search had never been interrupted."""
    trial: Trial
    result: Result
    is_among_best: bool
    """Whether its trial is one of the best ``BEST`` so far."""
    known_epochs: int
    """How much of the curve an earlier result of the same trial had already, if it was paused."""
    best: float
    """Best score so far; NaN before the first."""

    @property
    def series(self) -> Mapping[str, float]:
        """Of the search; only what is known."""
        result = self.result
        figures = {"best": self.best, "score": result.score, "loss": result.loss, "params": result.cost.params}
        return {name: value for name, value in {**figures, "seconds": result.seconds}.items() if value == value}

    @property
    def curve(self) -> Iterator[tuple[int, float]]:
        """Epochs that are new, counted from 1, and the score after each."""
        return enumerate(self.result.curve[self.known_epochs :], self.known_epochs + 1)


class Tracker(Protocol):
    """Where news go."""

    def tell(self, news: News) -> None: ...

    def close(self, is_complete: bool) -> None: ...


class TensorBoard:
    """Event files: ``search``, and a folder for every trial that was among the best when it ended: no page shows thousands."""

    def __init__(self, run: RunDir, place: str | None) -> None:
        self._writer = needed("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._folder = Path(place) if place else run.root / "tensorboard"
        if self._folder.exists() and any(self._folder.iterdir()):
            raise ExportError(f"{self._folder}: is not empty; remove it, or name another folder with --place")
        self._search = self._writer(str(self._folder / "search"))

    def tell(self, news: News) -> None:
        for name, value in news.series.items():
            self._search.add_scalar(f"search/{name}", value, news.number, walltime=news.time_s)
        self._search.flush()
        if not news.is_among_best:
            return
        with self._writer(str(self._folder / f"trial-{news.trial.id:06d}")) as own:
            for epoch, score in news.curve:
                own.add_scalar("trial/score", score, epoch, walltime=news.time_s)
            own.add_text("trial/architecture", str(news.trial.architecture), walltime=news.time_s)

    def close(self, is_complete: bool) -> None:
        self._search.close()


class MLflow:
    """One MLflow run for the search, in the experiment ``hpcnas``, and within it one for every trial."""

    def __init__(self, run: RunDir, place: str | None) -> None:
        mlflow = needed("mlflow", "mlflow")
        self._entities, self._error = needed("mlflow.entities", "mlflow"), mlflow.exceptions.MlflowException
        self._place = place or "MLflow's tracking server"
        self._trials: dict[int, str] = {}
        with self._reached():
            self._client = mlflow.MlflowClient(tracking_uri=place)
            with hasty():
                experiment = self._client.get_experiment_by_name("hpcnas")
            self._experiment = experiment.experiment_id if experiment else self._client.create_experiment("hpcnas")
            self._search = self._begun(run.root.resolve().name, begin_s(run), {"hpcnas.run": str(run.root.resolve())})
            self._params(self._search, flat(toml_file.load(run.config)))

    def tell(self, news: News) -> None:
        with self._reached():
            self._tell(news)

    def close(self, is_complete: bool) -> None:
        if is_complete:
            with self._reached():
                self._client.set_terminated(self._search, status="FINISHED")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raises ExportError for what MLflow cannot do: its server is gone, the address is none, a value is too long."""
        try:
            yield
        except self._error as error:
            raise ExportError(f"{self._place}: {error}; {len(self._trials)} trials are there; see --place") from error

    def _tell(self, news: News) -> None:
        trial, result = news.trial, news.result
        self._metrics(self._search, news.time_s, [(name, value, news.number) for name, value in news.series.items()])
        if trial.id not in self._trials:
            tags = {"mlflow.parentRunId": self._search}
            self._trials[trial.id] = self._begun(f"trial {trial.id}", news.time_s - result.seconds, tags)
            origin = {"parent": trial.proposal.parent, "mutation": trial.proposal.mutation, "depth": trial.architecture.depth}
            settings = {"architecture": str(trial.architecture), **origin, **dict(trial.proposal.settings)}
            self._params(self._trials[trial.id], settings)
        own = self._trials[trial.id]
        figures = {"loss": result.loss, "params": result.cost.params, "macs": result.cost.macs, "seconds": result.seconds}
        known = [(name, value, result.epochs) for name, value in figures.items() if value == value]
        self._metrics(own, news.time_s, [*(("score", score, epoch) for epoch, score in news.curve), *known])
        status = "FINISHED" if result.state.has_score else "FAILED"
        self._client.set_tag(own, "hpcnas.state", result.state.value)
        self._client.set_terminated(own, status=status, end_time=round(1000 * news.time_s))

    def _begun(self, name: str, time_s: float, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment, start_time=round(1000 * time_s), tags=dict(tags), run_name=name)
        return run.info.run_id

    def _params(self, run: str, values: Mapping[str, Any]) -> None:
        params = [self._entities.Param(name, str(value)[:500]) for name, value in values.items()]
        for start in range(0, len(params), 100):  # no more are taken at a time
            self._client.log_batch(run, params=params[start : start + 100])

    def _metrics(self, run: str, time_s: float, values: Sequence[tuple[str, float, int]]) -> None:
        metrics = [self._entities.Metric(name, float(value), round(1000 * time_s), step) for name, value, step in values]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run, metrics=metrics[start : start + 1000])


TRACKERS: Mapping[str, Callable[[RunDir, str | None], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.track", description="Show a run in TensorBoard or MLflow.")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--to", required=True, choices=TRACKERS)
    parser.add_argument(
        "--place", help="folder for tensorboard (default: RUN/tensorboard); tracking URI for mlflow (default: its own)"
    )
    parser.add_argument("--follow", action="store_true", help="wait for further results until the search is complete")
    parser.add_argument("--every", type=seconds, default=10.0, metavar="SECONDS", help="between two looks (default 10)")
    arguments = parser.parse_args(argv)
    run = RunDir(arguments.run)
    run.require()
    tracker = TRACKERS[arguments.to](run, arguments.place)
    told = 0
    try:
        for one in news(records(run, arguments.follow, arguments.every), begin_s(run)):
            tracker.tell(one)
            told += 1
    except KeyboardInterrupt:
        pass
    tracker.close(run.search.complete.exists())
    print(f"{plain(str(run.root))}: {told} results told to {arguments.to}")


def records(run: RunDir, follow: bool, every_s: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[Record]:
    """Events of a run, and with ``follow`` those to come until the search is complete."""
    journal = Tail(run.search.journal)
    while True:
        # Asked before reading, so that nothing which came before the marker is missed.
        is_last = not follow or run.search.complete.exists()
        yield from journal.read()
        if is_last:
            return
        sleep(every_s)


def news(events: Iterator[Record], begin: float) -> Iterator[News]:
    """What is new with every result."""
    archive, number = Archive(), 0
    for record in events:
        event = record.event
        before = archive.results.get(event.trial) if isinstance(event, Result) else None
        archive.add(event)
        if not isinstance(event, Result):
            continue
        number += 1
        ranking = archive.ranking
        is_among_best = any(one.trial == event.trial for one in ranking[:BEST])
        best = ranking[0].score if ranking else float("nan")
        known_epochs = len(before.curve) if before else 0
        yield News(number, begin + record.elapsed, archive.trials[event.trial], event, is_among_best, known_epochs, best)


def begin_s(run: RunDir) -> float:
    """When the search would have begun had it never been interrupted, in seconds since the epoch."""
    newest = last(run.search.journal)
    return run.search.journal.stat().st_mtime - newest.elapsed if newest else time.time()


@contextmanager
def hasty() -> Iterator[None]:
    """Within the block MLflow asks a server that does not answer once more, unless the user says how often."""
    if RETRIES in os.environ:
        yield
        return
    os.environ[RETRIES] = "1"
    try:
        yield
    finally:
        del os.environ[RETRIES]


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of a nested table by ``table.key``."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        values.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return values


def needed(module: str, package: str) -> Any:
    """An optional module; raises ExportError with the way to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExportError(f"--to {package}: {error}; pip install 'hpcnas[{package}]'") from error


if __name__ == "__main__":
    main()
