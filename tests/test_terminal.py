"""The outer edge of all programs: closed pipes, full disks, terminals that are narrow or know ASCII only, odd names, Ctrl-C."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import made_run
from test_tools import ARGUMENTS as OF_TOOLS
from test_tools import TOOLS, tool

import hpcnas
from hpcnas import doctor
from hpcnas.core.errors import RunError
from hpcnas.data.audio import RATE
from hpcnas.runtime import launch
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.showing import pictures
from hpcnas.showing.terminal import outer_edge

CLASSES = ("[red]日本", "a[/b]c", ":cat:no")
"""Markup that is right, with another script, markup that is wrong, and the name of an emoji."""


@dataclass(frozen=True)
class Odd:
    """Runs and a corpus with names that mean something to a terminal's library."""

    corpus: Path
    trained: Path
    """By a search, of the corpus."""
    made: Path
    """With an ensemble, of the same class names."""
    home: Path
    """Audio without keywords."""


@pytest.fixture(scope="module")
def odd(mpirun_once, tmp_path_factory) -> Odd:
    root = tmp_path_factory.mktemp("odd")
    rng, time_s = np.random.default_rng(0), np.arange(RATE // 2) / RATE
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for number, word in enumerate(CLASSES):
        (root / "corpus" / "[/x]" / word.replace("/", "|")).mkdir(parents=True)
        for speaker in range(6):
            name = f"{word.replace('/', '|')}/s{speaker}_nohash_0.wav"
            tone = np.sin(2 * np.pi * 400 * 2**number * time_s) + 0.3 * rng.standard_normal(len(time_s))
            soundfile.write(root / "corpus" / "[/x]" / name, 0.2 * tone, RATE, subtype="PCM_16")
            if speaker >= 2:
                lists["validation_list.txt" if speaker < 4 else "testing_list.txt"].append(name)
    for name, lines in lists.items():
        (root / "corpus" / "[/x]" / name).write_text("\n".join(lines), encoding="utf-8")
    trained = root / "runs" / "[lr]x" / "a[" / "b]c"
    settings = {
        "data.name": "speech_commands", "data.protocol": "all", "data.path": str(root / "corpus" / "[/x]"),
        "data.cache": str(root / "cache"), "space.blocks": '["dense:units=8"]', "space.causal": "true",
        "stopping.name": "none", "search.max_trials": 2, "training.epochs": 1, "training.batch_size": 4,
    }  # fmt: skip
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = mpirun_once(1, "hpcnas.search", *arguments, "--run", str(trained))
    assert done.returncode == 0 and str(trained) in done.output, done.output
    made = made_run(root / "runs" / "[lr]x" / ":cat:" / "日本", class_names=CLASSES).root
    (root / "[red]home").mkdir()
    soundfile.write(root / "[red]home" / "[b].wav", 0.1 * rng.standard_normal(3 * RATE), RATE, subtype="PCM_16")
    for name in lists:
        (root / "[red]home" / name).touch()
    return Odd(root / "corpus" / "[/x]", trained, made, root / "[red]home")


def in_home(odd: Odd) -> list[str]:
    return ["--set", f"data.negatives={json.dumps([str(odd.home)])}"]


def recording(odd: Odd) -> str:
    return str(next(odd.corpus.glob("*/s5*.wav")))


PROGRAMS: dict[str, Callable[[Odd, Path], list[str]]] = {
    "evaluate": lambda odd, out: [str(odd.trained), "--model", "best"],
    "detect": lambda odd, out: [str(odd.trained), recording(odd), "--model", "best", "--threshold", "0"],
    "mine": lambda odd, out: [str(odd.trained), "--model", "best", *in_home(odd), "--out", str(out / "[/b].json")],
    "export": lambda odd, out: [str(odd.trained), "--model", "best", "--format", "state_dict", "--out", str(out / "[/b].h5")],
    "report": lambda odd, out: [str(odd.made), "--against", str(odd.made)],
    "track": lambda odd, out: [str(odd.made), "--to", "tensorboard", "--place", str(out / "[/b]")],
    "doctor": lambda odd, out: ["--run", str(odd.made)],
    **{f"tools/{name}.py": lambda odd, out, of=of: of(str(odd.made), out) for name, of in OF_TOOLS.items()},
}
"""Those without ranks of their own, each with arguments that let it print much."""
WITH_RANKS = ("search", "ensemble", "distil", "compare", "adapt")


def test_every_program_is_in_the_table():
    programs = [path for path in Path(hpcnas.__file__).parent.glob("*.py") if path.stem not in ("__init__", "config")]
    assert all("argparse.ArgumentParser(" in path.read_text(encoding="utf-8") for path in programs), "what is none has a folder"
    names = {path.stem for path in programs}
    tools = {f"tools/{path.name}" for path in TOOLS.glob("*.py") if path.stem != "batch"}  # which needs no package
    assert names | tools == {*PROGRAMS, *WITH_RANKS}


def main_of(program: str) -> Callable[[list[str]], None]:
    if program.startswith("tools/"):
        return tool(Path(program).stem).main
    return importlib.import_module(f"hpcnas.{program}").main


@pytest.fixture
def start(odd, tmp_path, monkeypatch, capsys):
    """Run a program in this process with a standard output of its own: status and standard error."""
    monkeypatch.setattr(doctor, "asked", lambda command, mpirun=None, **more: (None, "[/b]"))
    monkeypatch.setattr(pictures, "to_svg", lambda figure: "<svg ></svg>")  # which take seconds
    monkeypatch.setattr(pictures, "save", lambda figure, path, dots_per_inch: path.touch() or "")
    monkeypatch.setattr("logging.root.handlers", [])

    def run(program: str, stdout: io.TextIOWrapper, arguments: list[str] | None = None) -> tuple[int, str]:
        status = 0
        monkeypatch.setattr("sys.stdout", stdout)
        try:
            main_of(program)(PROGRAMS[program](odd, tmp_path) if arguments is None else arguments)
        except SystemExit as end:
            status = end.code or 0
        monkeypatch.undo()
        return status, capsys.readouterr().err

    return run


def shown(stdout: io.TextIOWrapper) -> str:
    return stdout.buffer.getvalue().decode("utf-8")


def paper(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")


def sound(program: str) -> tuple[int, ...]:
    """Statuses of a program that did its work: the made-up mpirun of the doctor is none."""
    return (1,) if program == "doctor" else (0,)


@pytest.mark.parametrize("program", PROGRAMS)
def test_names_are_shown_as_they_are(program, start, odd):
    stdout = paper("utf-8")
    status, err = start(program, stdout)
    assert status in sound(program) and err == "", err
    text = shown(stdout).replace("\n", "")
    if program == "evaluate":
        assert f"page: {odd.trained}/" in text and all(name.replace("/", "|") in text for name in CLASSES)
    if program == "report":
        assert f"page: {odd.made}/report/index.html" in text
    if program == "doctor":
        assert "[/b]" in text and "A search would not run here." in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_cannot_be_printed_is_escaped(program, start):
    stdout = paper("ascii")
    status, err = start(program, stdout)
    assert status in sound(program) and err == "", err
    text = shown(stdout)
    assert text.isascii() and text
    if program in ("evaluate", "report"):
        assert "\\u65e5\\u672c" in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_pipe_that_nobody_reads_ends_a_program_quietly(program, start):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stdout:
        assert start(program, stdout) == (141, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk_behind_the_output_is_one_line(program, start):
    with open("/dev/full", "w", encoding="utf-8") as stdout:
        status, err = start(program, stdout)
    assert status == 2 and err.startswith("OSError: [Errno 28] No space left on device") and err.count("\n") == 1, err


class Narrow(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_narrow_terminal_takes_everything(program, start, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "dumb")
    stdout = Narrow(io.BytesIO(), encoding="utf-8")
    status, err = start(program, stdout)
    assert status in sound(program) and err == "", err
    assert start(program, paper("utf-8"), ["--help"]) == (0, "")


class Impatient(io.TextIOWrapper):
    def write(self, text: str) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("program", [program for program in PROGRAMS if program != "track"])
def test_ctrl_c_is_one_line(program, start):
    assert start(program, Impatient(io.BytesIO())) == (130, "interrupted\n")


@pytest.mark.parametrize("program", [program for program in PROGRAMS if program not in ("doctor", "track")])
def test_a_run_that_may_not_be_read_is_one_line(program, start, odd, tmp_path, monkeypatch):
    def refuse(path: Path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    arguments = PROGRAMS[program](odd, tmp_path)
    monkeypatch.setattr(Path, "read_text", refuse)
    status, err = start(program, paper("utf-8"), arguments)
    assert status == 2 and "Permission denied" in err and err.count("\n") == 1, err


def test_an_error_is_one_line_whatever_it_says(capsys):
    @outer_edge()
    def main() -> None:
        raise RunError("runs/a\nb\x1b[31m: [/b] 日本\udcff")

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and capsys.readouterr().err == "RunError: runs/a b\\x1b[31m: [/b] 日本\\udcff\n"


def test_what_the_program_says_comes_before_that_nobody_reads_it(capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)

    @outer_edge()
    def main() -> None:
        print("something")
        raise RunError("no")

    with open(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 2 and capsys.readouterr().err == "RunError: no\n"


@pytest.mark.parametrize("program", WITH_RANKS)
def test_programs_with_ranks_end_as_quietly(program, start, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        assert start(program, stdout, ["--help"]) == (141, "")
    with open("/dev/full", "w") as stdout:
        status, err = start(program, stdout, ["--help"])
    assert status == 2 and err.startswith("OSError: [Errno 28]") and err.count("\n") == 1
    monkeypatch.setenv("COLUMNS", "20")
    assert start(program, paper("ascii"), ["--help"]) == (0, "")


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("what", "together", "status", "line"),
    [
        (interrupted, on_first_rank, 130, "interrupted\n"),
        (lambda: open("/no/config"), on_first_rank, 2, "RunError: [Errno 2] No such file or directory: '/no/config'\n"),
        (lambda: open("/no/data"), on_every_rank, 2, "RunError: [Errno 2] No such file or directory: '/no/data' (on "),
    ],
    ids=["Ctrl-C", "a file of rank 0", "a file of every rank"],
)
def test_a_program_with_ranks_ends_in_one_line(what, together, status, line, monkeypatch, capsys):
    monkeypatch.setattr(launch, "_end_all", lambda comm, status: sys.exit(status))
    with pytest.raises(SystemExit) as end:
        launch.run_program(lambda world, arguments: together(world, what), [])
    err = capsys.readouterr().err
    assert end.value.code == status and err.startswith(line) and err.count("\n") == 1, err


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_a_number_of_ranks_that_is_none_is_told(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "many")
    with pytest.raises(SystemExit) as end:
        launch.run_program(lambda world, arguments: 0, [])
    assert end.value.code == 2 and f"LaunchError: {name} = 'many': must be the number of ranks" in capsys.readouterr().err


def test_a_search_whose_lines_nobody_reads_goes_on_to_its_end(tiny, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hpcnas.search", *tiny, "--set", "search.max_trials=2", "--run", str(run)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=writer, env={**os.environ, "OMP_NUM_THREADS": "1"})
    os.close(writer)
    assert done.returncode == 0 and (run / "complete").exists()
    assert "complete: all 2 trials" in (run / "logs" / "rank-000.log").read_text(encoding="utf-8")


def test_programs_do_without_an_output(odd):
    for redirection in (">&-", ">&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} {TOOLS / 'top.py'} '{odd.made}' {redirection}"], capture_output=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_evaluation_for_programs_is_ascii_everywhere(odd, start):
    stdout = paper("ascii")
    assert start("evaluate", stdout, [str(odd.trained), "--model", "best", "--json"]) == (0, "")
    assert [row["name"] for row in json.loads(shown(stdout))["classes"]] == sorted(n.replace("/", "|") for n in CLASSES)
