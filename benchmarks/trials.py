"""What a trial costs beside its training steps, and what comes before the first.

    tools/with_env.sh .venv python benchmarks/trials.py [--trials 500] [--ranks 8]

Searches of the built-in keywords under mpirun, the whole program but for a stop-watch around training: two with trials of about
ten seconds, one of ``--trials`` tiny ones, one with ``--ranks`` until all have begun to train. Prints a Markdown table: a step
against the same step on one batch in memory, a whole trial against its training, the time from the end of one trial to the
first step of the next, what a worker holds, and the start against that of ``import torch`` on as many ranks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

import torch
from mpi4py import MPI
from processes import MPIRUN, hear, on_ranks, tell

from hpcnas.config import TC_RESNET8, Config
from hpcnas.core.messages import Assignment
from hpcnas.core.space import spell
from hpcnas.core.trial import Result
from hpcnas.nn.blocks import BLOCK_TYPES
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.losses import LabelLoss
from hpcnas.nn.model import build_model
from hpcnas.nn.training import Trainer
from hpcnas.runtime import own_corpus, stage
from hpcnas.runtime.features import load_corpus
from hpcnas.runtime.launch import run_program
from hpcnas.runtime.together import SoloWorld
from hpcnas.runtime.trial_runner import TrialRunner
from hpcnas.search import search

LONG = ["search.max_trials=6", "training.epochs=12", "stopping.name=none"]
TINY = ["training.epochs=1", "stopping.name=none"]
MODELS = {
    "10k parameters": "conv1d:channels=48,kernel=3,stride=2/gru:units=16",
    "24k parameters": "conv1d:channels=96,kernel=3,stride=2/svdf:filters=64,memory=16/dense:units=32/svdf:filters=64,memory=4",
    "65k parameters (TC-ResNet8)": TC_RESNET8,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--rank", choices=("long", "usual", "tiny", "first", "steps"), help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.rank == "steps":
        steps()
        return
    if arguments.rank:
        watched(arguments.rank, rest)
        return
    (bare,) = hear([sys.executable, __file__, "--rank", "steps"])
    print("| what | is |\n|---|---|")
    for name, (memory_ms, whole_ms) in bare["steps"].items():
        print(f"| step with its input / on one batch in memory, {name} | {whole_ms / memory_ms:.2f} ({whole_ms:.1f} ms) |")
    for what, size in (("long", "half"), ("usual", "12 %")):
        long = searched(what, LONG)
        ratio = median(trial["seconds"] / trial["training"] for trial in long["trials"])
        took = median(trial["seconds"] for trial in long["trials"])
        print(f"| whole trial of {took:.0f} s / its training, validation {size} of the training split | {ratio:.3f} |")
    switches = [later["first_step"] - trial["ended"] for trial, later in zip(long["trials"], long["trials"][1:])]
    print(f"| end of a trial to the first step of the next | {1000 * median(switches):.0f} ms |")
    small = searched("tiny", [f"search.max_trials={arguments.trials}", *TINY])["trials"]
    for number in sorted({9, len(small) // 2, len(small) - 1}):
        trial = small[number]
        print(f"| memory of a worker before trial {number}; at its end | {trial['held']:.0f}; {trial['megabytes']:.0f} MB |")
    print(f"| the same of `import torch` alone | {bare['megabytes']:.0f} MB |")
    starts = [(until_first_step(arguments.ranks), until_torch(arguments.ranks)) for _ in range(3)]
    first, torch_s = (median(times) for times in zip(*starts))
    print(f"| start to the first step of {arguments.ranks} ranks / to `import torch` | {first / torch_s:.2f} ({first:.1f} s) |")


def searched(what: str, settings: list[str]) -> dict:
    changes = [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        return hear(on_ranks(2, __file__, "--rank", what, "--run", f"{folder}/run", *changes))[0]


def until_first_step(ranks: int) -> float:
    """Seconds from the command to the moment at which the last worker begins to train."""
    with tempfile.TemporaryDirectory() as folder:
        command = on_ranks(ranks, __file__, "--rank", "first", "--run", f"{folder}/run")
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ) as job:
            for _ in range(ranks - 1):
                assert "FIRST" in job.stdout.readline()
            took = time.perf_counter() - start
            job.terminate()
    return took


def until_torch(ranks: int) -> float:
    start = time.perf_counter()
    subprocess.run([MPIRUN, "-np", str(ranks), sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - start


def memory_mb() -> float:
    """All that this process holds, what it shares with others included."""
    (rss,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(rss) / 1024


@dataclass
class Log:
    """Of one worker: what each trial took."""

    trials: list[dict[str, float]] = field(default_factory=list)
    training: float = 0.0
    first_step: float = 0.0
    says_when_it_begins: bool = False


LOG = Log()


class WatchedTrainer(Trainer):
    """Takes the time of its training."""

    def train(self, *arguments, **more) -> Iterator[int]:
        if LOG.says_when_it_begins:
            LOG.says_when_it_begins = False
            print("FIRST", flush=True)
        epochs = super().train(*arguments, **more)
        LOG.training, LOG.first_step = 0.0, time.monotonic()
        while True:
            start = time.monotonic()
            done = next(epochs, None)
            LOG.training += time.monotonic() - start
            if done is None:
                return
            yield done


class WatchedRunner(TrialRunner):
    def run(self, assignment: Assignment) -> Result | None:
        start, held = time.monotonic(), memory_mb()
        result = super().run(assignment)
        if result is not None and result.steps:
            ended = time.monotonic()
            LOG.trials.append(
                {
                    "seconds": ended - start, "training": LOG.training, "first_step": LOG.first_step, "ended": ended,
                    "megabytes": memory_mb(), "held": held,
                }
            )  # fmt: skip
        return result


def watched(what: str, arguments: list[str]) -> None:
    """A rank of a search, with the watched classes in place of their parents."""
    stage.Trainer, stage.TrialRunner = WatchedTrainer, WatchedRunner
    LOG.says_when_it_begins = what == "first"
    if what in SMALLER:
        load = own_corpus.load_corpus
        own_corpus.load_corpus = lambda *given: SMALLER[what](load(*given))

    def program(world: MPI.Intracomm, argv: list[str]) -> int:
        status = search(world, argv)
        if world.rank == 1:
            tell({"trials": LOG.trials})
        return status

    run_program(program, arguments)


def cut(split: Split, examples: int) -> Split:
    return replace(split, **{name: getattr(split, name)[:examples] for name in ("starts", "lengths", "spoken", "labels")})


def tiny(corpus: Corpus) -> Corpus:
    return replace(corpus, **{name: cut(getattr(corpus, name), 64) for name in ("train", "validation", "test")})


def usual(corpus: Corpus) -> Corpus:
    """With a validation split as large against the training split as Speech Commands' (4,445 and 36,923 recordings)."""
    return replace(corpus, validation=cut(corpus.validation, round(0.12 * len(corpus.train))))


SMALLER = {"tiny": tiny, "usual": usual}


class FromMemory(Trainer):
    """Trains on one batch again and again."""

    def _training_batch(self, *arguments) -> tuple:
        if not hasattr(self, "_batch"):
            self._batch = super()._training_batch(*arguments)
        return self._batch


def steps(rounds: int = 9) -> None:
    """Milliseconds of a step on one batch in memory and with its input, in turns; and the memory of ``import torch``."""
    program = "import torch; print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
    bare = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    torch.set_num_threads(1)
    config = Config()
    corpus = load_corpus(SoloWorld(), config)
    trained = config.augmentation.scaled(config.augmentation.in_trials)
    figures = {}
    for name, text in MODELS.items():
        took = {FromMemory: [], Trainer: []}
        for _ in range(rounds):
            for kind in took:
                trainer = kind(corpus, SoloGroup(), config.training, trained)
                around = config.space.surroundings(corpus.bands, len(corpus.class_names))
                model = build_model(spell(text, BLOCK_TYPES), around, 0)
                took[kind].append(epoch_s(trainer, model) / trainer.steps_per_epoch * 1000)
        figures[name] = tuple(median(times) for times in took.values())
    tell({"steps": figures, "megabytes": int(bare.stdout) / 1024})


def epoch_s(trainer: Trainer, model: torch.nn.Module) -> float:
    epochs = trainer.train(model, trainer.optimizer_for(model), 0, objective=LabelLoss(0.1))
    start = time.perf_counter()
    next(epochs)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
