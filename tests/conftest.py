"""Fixtures: a tiny corpus of tones in the Speech Commands layout, and real `mpirun`s with a time limit.

``make test`` runs tests beside each other in several processes (workers of pytest-xdist). What takes long and is looked at by
several tests is made once for all of them (``made_once``).
"""

from __future__ import annotations

import fcntl
import importlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings

from hpcnas.data.audio import RATE
from hpcnas.store.run_dir import RunDir

# How fast examples are made depends on what else the machine does.
settings.register_profile("hpcnas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpcnas")


def pytest_configure() -> None:
    """One thread a process, unless the user says otherwise: tests run beside each other, and threads that wait for a core spin.
    ``tests/test_threads.py`` looks at what is decided without this. Open MPI does not look for libfabric's networks, which
    takes a second."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMPI_MCA_btl", "^ofi")


FIRST = ("test_slurm", "test_pages", "test_litert", "test_lost_ranks", "test_programs", "test_micro", "test_export")
"""Files that take longest: of tests that are begun last, one would keep the others waiting."""
TOGETHER = ("test_lost_ranks",)
"""Files whose tests start so many ranks that two at a time would crowd a small machine."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Beside each other, what takes longest is begun first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests of a file with a fixture of the whole module run in one process, all others where there is room."""
    from xdist.scheduler import LoadScopeScheduling

    @cache
    def shares(file: str) -> bool:
        path = Path(config.rootpath, file)
        return path.stem in TOGETHER or 'scope="module"' in path.read_text(encoding="utf-8")

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if shares(file) else nodeid

    return Scheduling(config, log)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder, filled by ``make`` in whichever worker comes first; not to be changed."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f".{name}-made"
    with open(base / f".{name}-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


MPIRUN = Path(__file__).parent.parent / "tools" / "mpirun.sh"

TONES_HZ = {"low": 300, "mid": 900, "high": 2700, "other": 5000}


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """A program that a test runs in its own process sets up logging for good."""
    yield
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.handlers = [handler for handler in root.handlers if type(handler).__module__.startswith("_pytest.")]


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four words that are noisy tones: 12 speakers each, 8 in train, 2 in validation, 2 in test."""
    return made_once(tmp_path_factory, "tones", _make_tones)


def _make_tones(root: Path) -> None:
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    time_s = np.arange(RATE // 2) / RATE
    for word, hertz in TONES_HZ.items():
        (root / word).mkdir()
        for speaker in range(12):
            tone = np.sin(2 * np.pi * hertz * rng.uniform(0.9, 1.1) * time_s) + 0.3 * rng.standard_normal(len(time_s))
            name = f"{word}/s{speaker:02d}_nohash_0.wav"
            soundfile.write(root / name, 0.2 * tone, RATE, subtype="PCM_16")
            if speaker >= 8:
                lists["validation_list.txt" if speaker < 10 else "testing_list.txt"].append(name)
    (root / "_background_noise_").mkdir()
    soundfile.write(root / "_background_noise_" / "white.wav", 0.05 * rng.standard_normal(3 * RATE), RATE, subtype="PCM_16")
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines))


def _tiny(tones: Path) -> list[str]:
    settings = {
        "data.name": "speech_commands",
        "data.path": str(tones),
        "data.keywords": '["low", "mid", "high"]',
        "data.unknown_percent": 100,
        "space.blocks": '["dense:units=8|16", "tdnn:channels=8|16,kernel=3,dilation=1|2", "conv:channels=4,kernel=3,stride=2"]',
        "space.max_depth": 3,
        "strategy.name": "incremental",
        "stopping.name": "none",
        "search.max_trials": 4,
        "search.zoo": "[]",
        "training.epochs": 1,
        "training.batch_size": 8,
        "ensemble.epochs": 2,
        "ensemble.challengers": 1,
        "ensemble.baseline": "dense:units=8",
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def tiny(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a search that takes a second: tones, small blocks, one epoch; features cached below tmp_path."""
    monkeypatch.setenv("HPCNAS_CACHE", str(tmp_path / "cache"))
    return _tiny(tones)


@pytest.fixture(scope="session")
def tiny_once(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same for a run that several tests look at."""
    return [*_tiny(tones), "--set", f"data.cache={made_once(tmp_path_factory, 'cache', lambda folder: None)}"]


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int
    output: str
    """Standard output and error."""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def mpi_command(ranks: int, *arguments: str) -> list[str]:
    """A command line that starts a module, or a file, on ``ranks`` ranks; one rank goes without mpirun."""
    launcher = [] if ranks == 1 else [str(MPIRUN), "-np", str(ranks)]
    return [*launcher, sys.executable, *([] if arguments[0].endswith(".py") else ["-m"]), *arguments]


WITHOUT_RANKS = ("hpcnas.detect", "hpcnas.evaluate", "hpcnas.export", "hpcnas.mine", "hpcnas.report")
"""Programs that start no ranks: they run in this process, where torch is loaded already. ``tests/test_pages.py`` starts them as
users do."""


def _in_this_process(program: str, arguments: tuple[str, ...]) -> Done:
    output, status = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), 0
    with redirect_stdout(output), redirect_stderr(output):
        try:
            importlib.import_module(program).main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    return Done(status, output.buffer.getvalue().decode("utf-8"))


@pytest.fixture(scope="session")
def mpirun_once():
    """Run ``python -m ...`` on so many ranks; a deadlock ends with status 124 after ``limit`` seconds."""

    def run(ranks: int, *arguments: str, limit: int = 240) -> Done:
        if arguments[0] in WITHOUT_RANKS and ranks == 1:
            return _in_this_process(arguments[0], arguments[1:])
        command = ["timeout", "-k", "5", str(limit), *mpi_command(ranks, *arguments)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment())
        return Done(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def causal_run(mpirun_once, tiny_once, tmp_path_factory) -> RunDir:
    """A search of causal models; not to be changed."""

    def search(folder: Path) -> None:
        causal = ["--set", "space.causal=true", "--set", "training.epochs=6", "--set", "search.max_trials=2"]
        done = mpirun_once(1, "hpcnas.search", *tiny_once, *causal, "--run", str(folder / "run"))
        assert done.returncode == 0, done.output

    made = made_once(tmp_path_factory, "causal", search)
    return RunDir(shutil.copytree(made / "run", tmp_path_factory.mktemp("causal") / "run"))


@pytest.fixture(scope="session")
def finished_run(mpirun_once, causal_run, tmp_path_factory) -> RunDir:
    """The same with its ensemble, at ``runs/kws`` of a folder with a few recordings: what the documentation's examples see."""

    def ensemble(folder: Path) -> None:
        run = shutil.copytree(causal_run.root, folder / "runs" / "kws")
        small = ["ensemble.finalists=1", "ensemble.challengers=0", "ensemble.epochs=1"]
        done = mpirun_once(1, "hpcnas.ensemble", str(run), *(part for one in small for part in ("--set", one)))
        assert done.returncode == 0, done.output

    made = made_once(tmp_path_factory, "finished", ensemble)
    return RunDir(shutil.copytree(made, tmp_path_factory.mktemp("finished") / "home") / "runs" / "kws")


@pytest.fixture
def mpirun(mpirun_once):
    return mpirun_once


@pytest.fixture
def mpistart():
    """Start ``python -m ...`` on so many ranks, in a process group of its own, and return at once."""
    started: list[subprocess.Popen] = []

    def start(ranks: int, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            mpi_command(ranks, *arguments), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
