"""Ways to combine what finished runs have trained, and students of their averages: test accuracies and parameters.

    tools/with_env.sh .venv python benchmarks/ensembles.py RUN RUN RUN [--students]

RUNs are finished by ``hpcnas.ensemble``, such as those that ``benchmarks/sizes.py`` leaves in its folder; they are copied and
stay as they are. Nothing is trained but, with ``--students``, a model of one member's size that learns from the average, and
its twin that learns from the labels alone. Prints a Markdown table, one column a run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcnas.core import metrics
from hpcnas.core.archive import Archive
from hpcnas.core.units import thousands
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

COMBINERS = ("average", "weighted", "greedy")


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    members: list[float]
    """Test accuracy of each member of the average."""
    combined: dict[str, tuple[float, int]]
    """Test accuracy and parameters, by combiner or student."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--students", action="store_true")
    arguments = parser.parse_args()
    figures = [measure(run, arguments.students) for run in arguments.runs]
    print(f"| test accuracy | {' | '.join(run.name for run in arguments.runs)} | mean | parameters |")
    print(f"|---{'|---' * (len(figures) + 2)}|")
    rows = {"members, mean": [float(np.mean(of_run.members)) for of_run in figures]}
    rows.update({name: [of_run.combined[name][0] for of_run in figures] for name in figures[0].combined})
    for name, accuracies in rows.items():
        sizes = {of_run.combined[name][1] for of_run in figures} if name in figures[0].combined else set()
        params = " to ".join(dict.fromkeys(thousands(size) for size in (min(sizes), max(sizes)))) if sizes else ""
        each = " | ".join(f"{accuracy:.1%}" for accuracy in accuracies)
        print(f"| {name} | {each} | {np.mean(accuracies):.1%} | {params} |")


def measure(root: Path, students: bool) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(shutil.copytree(root, Path(folder) / root.name))
        archives = {name: Archive(r.event for r in replay(run.stage(name).journal)) for name in ("search", "ensemble")}
        combined, of_average = {}, []
        for name in COMBINERS:
            run.ensemble_file.unlink()
            start("hpcnas.ensemble", str(run.root), "--set", f"combiner.name={name}")
            ensemble = ensemble_file.load(run.ensemble_file)
            params = sum(archives[member.stage].results[member.trial].cost.params for member in ensemble.members)
            labels = ensemble.labels["test"]
            combined[name] = metrics.accuracy(ensemble.logits["test"], labels), params
            if name == "average":
                paths = [run.stage(member.stage).weights(member.trial) for member in ensemble.members]
                of_average = [metrics.accuracy(weights.load_logits(path, "test"), labels) for path in paths]
        if students:
            run.ensemble_file.unlink()
            start("hpcnas.ensemble", str(run.root), "--set", "combiner.name=average")
            start("hpcnas.distil", str(run.root))
            trained = Archive(record.event for record in replay(run.student.journal))
            for result in sorted(trained.ranking, key=lambda result: result.trial):
                accuracy = metrics.accuracy(weights.load_logits(run.student.weights(result.trial), "test"), labels)
                name = {"student": "student of the average", "control": "the same on labels alone"}
                combined[name[trained.trials[result.trial].proposal.role]] = accuracy, result.cost.params
        return Figures(of_average, combined)


def start(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


if __name__ == "__main__":
    main()
