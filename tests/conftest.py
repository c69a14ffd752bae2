"""Fixtures: a tiny corpus of tones in the Speech Commands layout, and real `mpirun`s with a time limit."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
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
    ``tests/test_threads.py`` looks at what is decided without this."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


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
    root = tmp_path_factory.mktemp("tones")
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
    return root


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
    return [*_tiny(tones), "--set", f"data.cache={tmp_path_factory.mktemp('cache')}"]


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


@pytest.fixture(scope="session")
def mpirun_once():
    """Run ``python -m ...`` on so many ranks; a deadlock ends with status 124 after ``limit`` seconds."""

    def run(ranks: int, *arguments: str, limit: int = 240) -> Done:
        command = ["timeout", "-k", "5", str(limit), *mpi_command(ranks, *arguments)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment())
        return Done(done.returncode, done.stdout)

    return run


@pytest.fixture(scope="session")
def causal_run(mpirun_once, tiny_once, tmp_path_factory) -> RunDir:
    """A search of causal models; not to be changed."""
    run = tmp_path_factory.mktemp("causal") / "run"
    causal = ["--set", "space.causal=true", "--set", "training.epochs=6", "--set", "search.max_trials=2"]
    done = mpirun_once(1, "hpcnas.search", *tiny_once, *causal, "--run", str(run))
    assert done.returncode == 0, done.output
    return RunDir(run)


@pytest.fixture(scope="session")
def finished_run(mpirun_once, causal_run, tmp_path_factory) -> RunDir:
    """The same with its ensemble, at ``runs/kws`` of a folder with a few recordings: what the documentation's examples see."""
    folder = tmp_path_factory.mktemp("finished")
    run = folder / "runs" / "kws"
    shutil.copytree(causal_run.root, run)
    done = mpirun_once(
        1,
        "hpcnas.ensemble",
        str(run),
        "--set",
        "ensemble.finalists=1",
        "--set",
        "ensemble.challengers=0",
        "--set",
        "ensemble.epochs=1",
    )
    assert done.returncode == 0, done.output
    return RunDir(run)


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
