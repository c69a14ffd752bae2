"""What a run of many trials costs: seconds and peak memory of resuming from its journal and of summarising it, and a proposal.

    tools/with_env.sh .venv python benchmarks/many_trials.py [--trials 100000] [--run FOLDER]

The run is made up (architectures, scores and times are drawn at random) and kept in FOLDER, if one is given. Every figure but
those of proposals is taken in a process of its own, and includes what Python and the libraries take to start.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from hpcnas.config import Config
from hpcnas.core.architecture import Architecture, Block
from hpcnas.core.archive import Archive
from hpcnas.core.trial import Cost, Proposal, Result, Trial, TrialState
from hpcnas.store import archive_file
from hpcnas.store.journal import Record, archive_of, spell
from hpcnas.store.run_dir import RunDir

TASKS = {
    "start python, numpy and h5py": "pass",
    "replay the journal": "replay(run.search.journal)",
    "resume: journal to Archive": "archive_of(run.search.journal)",
    "open archive.h5, all columns": "archive_file.load(run.archive)",
    "summarise from archive.h5": "summary.summarise(ConfiguredRun.open(run.root))",
}
PROGRAM = """
import sys, time
start = time.perf_counter(), time.process_time()
from pathlib import Path
from hpcnas.analysis import summary
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.store import archive_file
from hpcnas.store.journal import archive_of, replay
from hpcnas.store.run_dir import RunDir
run = RunDir(Path(sys.argv[1]))
{task}
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.perf_counter() - start[0], time.process_time() - start[1], int(peak) / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(arguments.run or Path(folder) / "run")
        if not run.exists:
            make(run, arguments.trials)
        megabytes = (run.search.journal.stat().st_size / 1e6, run.archive.stat().st_size / 1e6)
        print(f"{arguments.trials} trials: journal {megabytes[0]:.0f} MB, archive.h5 {megabytes[1]:.0f} MB")
        archive = archive_of(run.search.journal)
        start = time.perf_counter()
        archive_file.save(run.archive, archive)
        print(f"write archive.h5: {time.perf_counter() - start:.2f} s")
        print(f"a proposal of the default strategy: {1000 * proposal_s(archive):.2f} ms")
        for name, task in TASKS.items():
            command = [sys.executable, "-c", PROGRAM.format(task=task), str(run.root)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, of_processor, memory = map(float, done.stdout.split())
            print(f"{name}: {seconds:.2f} s ({of_processor:.2f} s of a core), {memory:.0f} MB")


def proposal_s(archive: Archive, count: int = 200) -> float:
    """Median; the first, for which it looks at all trials, apart."""
    config, rng = Config(), np.random.default_rng(0)
    space, took = config.space.build(), []
    for _ in range(count):
        start = time.perf_counter()
        config.strategy.propose(archive, space, rng)
        took.append(time.perf_counter() - start)
    print(f"its first: {1000 * took[0]:.2f} ms")
    return median(took)


def make(run: RunDir, trials: int, groups: int = 64) -> None:
    """A run of as many trials, as 64 groups would have left it."""
    rng = np.random.default_rng(0)
    kinds = ("conv1d:channels={},kernel=3,stride=1", "tdnn:channels={},dilation=2,kernel=3", "dense:units={}")
    blocks = [Block.parse(kind.format(width)) for kind in kinds for width in range(16, 256, 4)]
    run.root.mkdir(parents=True)
    run.config.write_text('[data]\nname = "builtin_kws"\n[search]\nobjective = "accuracy"\n[strategy]\nname = "incremental"\n')
    scores = 0.9 - 0.5 * rng.random(trials) / (1 + np.arange(trials) / 1000)
    archive, towers, open_ = Archive(), [], []
    with open(run.search.journal, "wb") as file:

        def add(event: Trial | Result, elapsed: float) -> None:
            file.write(spell(Record(elapsed, event)))
            archive.add(event)

        for id_ in range(trials):
            parent = int(rng.integers(id_)) if id_ > groups else None
            before = towers[parent] if parent is not None else ()
            towers.append((*before, blocks[rng.integers(len(blocks))])[-8:])
            proposal = Proposal(Architecture(towers[-1]), parent, "start" if parent is None else "grow", (("dropout", 0.1),))
            add(Trial(id_, proposal, seed=int(rng.integers(1 << 32))), elapsed=id_ * 0.5)
            open_.append(id_)
            if len(open_) > groups or id_ == trials - 1:
                for done in open_[: 1 if id_ < trials - 1 else None]:
                    score = float(scores[done])
                    state = TrialState.COMPLETED if done % 3 == 0 else TrialState.PAUSED
                    curve = tuple(score * (1 - 0.5**epoch) for epoch in range(1, 9))
                    params = int(10 ** rng.uniform(3.5, 5))
                    cost = Cost(params, 40 * params, 8000)
                    add(
                        Result(done, state, score, 2 * (1 - score), cost, 8, 800, params // 2, 30.0, done % groups, curve),
                        elapsed=id_ * 0.5,
                    )
                open_ = open_[1:]
    archive_file.save(run.archive, archive)


if __name__ == "__main__":
    main()
