"""What rank 0 has on its desk during a stage: the coordinator with journal, clock, signals and what the user watches."""

from __future__ import annotations

import gc
import logging
import math
import time
from functools import lru_cache

from hpcnas.config import Config
from hpcnas.core.archive import Archive
from hpcnas.core.coordinator import Coordinator
from hpcnas.core.messages import Progress
from hpcnas.core.trial import Result, Trial
from hpcnas.core.tuning import NoTuner, Tuner, TuningConfig
from hpcnas.nn.corpus import Corpus
from hpcnas.nn.cost import CostTable
from hpcnas.runtime.launch import EXIT_SUSPENDED, stop_on_signal
from hpcnas.runtime.plan import Plan
from hpcnas.runtime.watch import Watch
from hpcnas.store import running_file
from hpcnas.store.files import sweep
from hpcnas.store.journal import Journal, replay, without_collections

logger = logging.getLogger(__name__)

_FREEZE_EVERY = 1000
"""Trials after which the archive is exempt from garbage collection again: to look through 20,000 in vain took 130 ms."""
_REFRESH_EVERY_S = 30.0
_REFRESH_SHARE = 0.02
"""Largest share of rank 0's time that goes into snapshots of the archive, and as much into those of running trials."""
_CURVES_EVERY_S = 1.0


class Desk:
    """Rank 0's side of a stage. Raises RunError if another program is writing the stage, before it reads or writes anything
    of it: what it read before could be out of date."""

    def __init__(self, config: Config, corpus: Corpus, plan: Plan) -> None:
        self._plan = plan
        self._journal = Journal(plan.stage.journal)
        plan.begin()
        with without_collections():
            records = replay(plan.stage.journal)
            archive = Archive(record.event for record in records)
        for folder in plan.stage.folders:
            sweep(folder)
        self._before = records[-1].elapsed if records else 0.0
        self._discarded: list[int] = []
        """Trials whose weights nobody needs any more."""
        curves = running_file.load(plan.stage.running)
        self._curves = {id_: curve for id_, curve in curves.items() if id_ in archive.trials and id_ not in archive.results}
        """Score after each epoch of trials that have no result yet."""
        self._curves_at = math.inf
        """When they are to be written; never unless they have changed."""
        self._curves_took = 0.0
        self._start = time.monotonic()
        self._refresh_at = self._start + _REFRESH_EVERY_S
        self.watch = Watch(archive, plan.search.max_trials, plan.search.objective)
        around = config.space.surroundings(corpus.bands, len(corpus.class_names))
        measure = lru_cache(maxsize=1024)(CostTable(around, corpus.window).measure)
        has_begun = any(not trial.proposal.is_suggestion for trial in archive.trials.values())
        self.coordinator = Coordinator(
            strategy=plan.strategy,
            space=config.space.build(),
            config=plan.search,
            seed=config.seed,
            record=self._record,
            measure=measure,
            budget=plan.budget,
            inheritance=plan.inheritance,
            tuner=make_tuner(plan.tuning, config.seed),
            stopping=plan.stopping,
            combiner=plan.combiner,
            starts=() if has_begun else plan.starts(measure),
            archive=archive,
            stored=lambda trial: plan.stage.weights(trial).exists(),
            discard=self._discarded.append,
            progress=self._note_progress,
            elapsed=self._elapsed,
            time_left=lambda: plan.job_end - config.cluster.warning_s - time.time(),
        )
        stop_on_signal(self._suspend)

    def commit(self) -> None:
        """Put what was recorded out of reach of a kill."""
        self._journal.commit()

    def settle(self) -> None:
        """Put it on disk, show it to the user, and make room."""
        self._journal.sync()
        self.watch.show()
        if time.monotonic() > self._curves_at:
            self._write_curves()
        for trial in self._discarded:
            self._plan.stage.weights(trial).unlink(missing_ok=True)
        self._discarded.clear()

    def close(self) -> int:
        """Leave everything in order and draw the stage's conclusions; the exit status."""
        self.settle()
        self._write_curves()
        self.watch.close()
        coordinator = self.coordinator
        self._plan.refresh(coordinator.archive)
        if not coordinator.finished:
            logger.info("suspended with %d results; the same command with --resume goes on", len(coordinator.archive.results))
            return EXIT_SUSPENDED
        busy = 100 * self.watch.busy_share
        logger.info("complete: %s, %.0f s in all, groups busy %.1f %%", coordinator.ended, self._elapsed(), busy)
        self._plan.conclude(coordinator.archive)
        self._plan.stage.complete.touch()
        return 0

    def _suspend(self) -> None:
        self.coordinator.suspended = True

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._start

    def _record(self, event: Trial | Result) -> None:
        self._journal.append(event, self._elapsed())
        self.watch.update(event)
        if isinstance(event, Result) and self._curves.pop(event.trial, ()):
            self._curves_are_new()
        if isinstance(event, Trial) and event.id % _FREEZE_EVERY == 0:
            gc.freeze()
        if (start := time.monotonic()) > self._refresh_at:
            self.settle()  # the snapshot must not know more than the journal
            self._plan.refresh(self.coordinator.archive)
            took = time.monotonic() - start
            self._refresh_at = start + max(_REFRESH_EVERY_S, took / _REFRESH_SHARE)

    def _note_progress(self, progress: Progress) -> None:
        self._curves[progress.trial] = progress.curve
        self._curves_are_new()

    def _curves_are_new(self) -> None:
        if self._curves_at == math.inf:
            self._curves_at = time.monotonic() + max(_CURVES_EVERY_S, self._curves_took / _REFRESH_SHARE)

    def _write_curves(self) -> None:
        start = time.monotonic()
        running_file.save(self._plan.stage.running, self._curves)
        self._curves_at, self._curves_took = math.inf, time.monotonic() - start


def make_tuner(config: TuningConfig, seed: int) -> Tuner:
    """The configured tuner."""
    if config.name == "none":
        return NoTuner()
    from hpcnas.runtime.optuna_tuner import OptunaTuner  # Optuna takes a second to load: only where it is used

    return OptunaTuner(config, seed)
