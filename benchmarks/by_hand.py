"""The searched model of each size against the best one that experts drew by hand: one recipe, one number of steps, three seeds.

    tools/with_env.sh .venv python benchmarks/by_hand.py benchmarks/arsc40.toml --set data.path=FOLDER --limits 10000 \
        --rivals SparkNet-16 BC-ResNet-1 BC-ResNet-1-t2 --folder /tmp/by-hand

For each limit of parameters: a search and its finals; then ``hpcnas.compare`` trains the rivals once, in a run of their own
(not if only one is named), and the one with the best merit on validation (``search.rank_by``) is the champion; then searched
model and champion, ``--seeds`` times each. Runs of one process, as many limits at a time as ``--jobs``. What is in the folder
is not run again: further limits, rivals and seeds are added to it. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcnas import config as configuration
from hpcnas.core.archive import Archive
from hpcnas.core.contest import stand
from hpcnas.core.units import thousands
from hpcnas.runtime.contestants import SEARCHED, judged, named, trainings_of
from hpcnas.runtime.features import load_corpus
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir
from hpcnas.zoo import ZOO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--limits", type=int, nargs="+", required=True)
    parser.add_argument("--rivals", nargs="+", default=["zoo"], help="as --models of hpcnas.compare (default: zoo)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda limit: trained(arguments, limit), arguments.limits))
    print("| limit | model | test accuracy | each seed | parameters | MACs | ahead | p |\n|---|---|---|---|---|---|---|---|")
    notes = [shown(limit, run, rival) for limit, (run, rival) in zip(arguments.limits, runs)]
    print("\n" + "\n".join(notes))


def trained(arguments: argparse.Namespace, limit: int) -> tuple[RunDir, str]:
    """The run of a limit, with what is missing in it trained, and the champion that it is held against."""
    run = RunDir(arguments.folder / str(limit))
    settings = [part for change in (f"space.max_params={limit}", *arguments.set) for part in ("--set", change)]
    program("hpcnas.search", str(arguments.config), "--run", str(run.root), "--resume", *settings)
    program("hpcnas.ensemble", str(run.root))
    rival = champion(arguments, limit, settings)
    contest = ("--models", "best", rival, "--seeds", str(arguments.seeds))
    program("hpcnas.compare", "--run", str(run.root), "--resume", *contest)
    return run, rival


def program(*words: str) -> None:
    """Run a program of hpcnas in one process with one thread; what it says goes on to standard error."""
    subprocess.run([sys.executable, "-m", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=sys.stderr, check=True)


def champion(arguments: argparse.Namespace, limit: int, settings: Sequence[str]) -> str:
    """The rival that is best on validation in one training, if there are several."""
    if len(names := named(arguments.rivals)) == 1 and names[0] in ZOO:
        return names[0]
    run = RunDir(arguments.folder / f"{limit}-rivals")
    race = ("--models", *arguments.rivals, "--seeds", "1")
    program("hpcnas.compare", str(arguments.config), "--run", str(run.root), "--resume", *race, *settings)
    archive = archive_of(run.comparison.journal)
    return max(trainings_of(archive).items(), key=lambda model: archive.results[model[1][0]].merit)[0]


def shown(limit: int, run: RunDir, rival: str) -> str:
    """Two rows of the table; returns what else is to be said."""
    archive = archive_of(run.comparison.journal)
    labels = load_corpus(MPI.COMM_SELF, configuration.load(run.config)).test.labels
    standings = {one.name: one for one in stand([judged(run.comparison, archive, name) for name in (SEARCHED, rival)], labels)}
    ahead = standings[SEARCHED].accuracy - standings[rival].accuracy
    (p,) = (one.p for one in standings.values() if not one.is_best)
    for name, said, against in (
        (SEARCHED, SEARCHED, (f"{100 * ahead:+.1f} points", f"{p:.4f}")),
        (rival, f"{rival}, by hand", ("", "")),
    ):
        one, cost = standings[name], archive.results[trainings_of(archive)[name][0]].cost
        each = ", ".join(f"{accuracy:.1%}" for accuracy in one.accuracies)
        cells = (said, f"{one.accuracy:.1%}", each, thousands(cost.params), thousands(cost.macs), *against)
        print(f"| {thousands(limit)} | {' | '.join(cells)} |")
    return f"{thousands(limit)}: {averaged(run, labels)}; {effort(run)}."


def averaged(run: RunDir, labels: np.ndarray) -> str:
    """What the ensemble is worth beside its members."""
    stored = ensemble_file.load(run.ensemble_file)
    members = [weights.load_logits(run.stage(one.stage).weights(one.trial), "test") for one in stored.members]
    alone = [float((logits.argmax(1) == labels).mean()) for logits in members]
    together = float((stored.logits["test"].argmax(1) == labels).mean())
    return f"average of {len(members)} {together:.1%}, {100 * (together - np.mean(alone)):+.1f} points over its members"


def effort(run: RunDir) -> str:
    """What search and finals cost, in trainings of one model from scratch."""
    search, finals = archive_of(run.search.journal), archive_of(run.ensemble.journal)
    one = archive_of(run.comparison.journal)
    own = [one.results[id_] for id_ in trainings_of(one)[SEARCHED]]
    steps, seconds = own[0].steps, float(np.mean([result.seconds for result in own]))

    def cost(archive: Archive) -> str:
        took = sum(result.seconds for result in archive.results.values())
        return f"{archive.steps / steps:.0f} times its steps, {took / 60:.0f} min"

    return f"one training {steps} steps, {seconds / 60:.1f} min; search {cost(search)}; finals {cost(finals)}"


if __name__ == "__main__":
    main()
