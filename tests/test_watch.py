"""What a user watches."""

from __future__ import annotations

import logging

from helpers import completed, trial

from hpcnas.core.archive import Archive
from hpcnas.runtime.watch import Watch


def watched(caplog, trials: int, clock) -> list[str]:
    archive = Archive()
    watch = Watch(archive, trials, "accuracy")
    watch.work_in(2)
    with caplog.at_level(logging.INFO):
        for id_ in range(trials):
            archive.add(trial(id_))
            watch.update(completed(id_, id_ / trials))
            archive.add(completed(id_, id_ / trials))
            watch.show()
            clock[0] += 0.001 if id_ != 60 else 2.0
        watch.close()
    return [record.getMessage() for record in caplog.records]


def test_more_trials_than_anybody_reads_are_counted(caplog, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("hpcnas.runtime.watch.time.monotonic", lambda: clock[0])
    lines = watched(caplog, 100, clock)
    said = [line for line in lines if line.startswith("trial ")]
    counted = [int(line.split()[2]) for line in lines if line.startswith("... and")]
    assert len(said) + sum(counted) == 100 and len(said) == 40 and counted == [41, 19]
    assert "100/100 trials" in lines[-1] and "best=0.9900" in lines[-1]
