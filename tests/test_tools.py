"""The scripts in ``tools/``, as a user starts them: on runs that are complete, being written, and cut off."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from helpers import made_run, trial, write

from hpcnas.analysis.soundness import verify
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.store import weights
from hpcnas.store.journal import Journal, replay

TOOLS = Path(__file__).parents[1] / "tools"
READERS = {path.stem: path for path in sorted(TOOLS.glob("*.py")) if "hpcnas.analysis" in path.read_text()}
"""Scripts that look at runs; the others set up and start programs."""
ARGUMENTS: dict[str, Callable[[str, Path], list[str]]] = {
    "summary": lambda run, out: [run, run],
    "top": lambda run, out: [run, "--where", "params<100k", "-k", "3"],
    "show": lambda run, out: ["best", run],
    "lineage": lambda run, out: [run, "--svg", str(out / "lineage.svg")],
    "blocks": lambda run, out: [run, run, "--by", "place"],
    "compare": lambda run, out: [run, run, "--against", "trials"],
    "plot": lambda run, out: [run, run, "--out", str(out / "plots"), "--only", "params"],
    "verify": lambda run, out: [run],
    "merge": lambda run, out: [run, run, "--out", str(out / "merged")],
    "prune": lambda run, out: [run, "--keep", "3"],
    "watch": lambda run, out: [run, run, "--once"],
}
"""How each is tried on a run; what it writes goes to another folder."""


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tool_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(capsys):
    """Run a tool in this process: status, standard output and standard error."""

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        status = 0
        try:
            tool(name).main(list(arguments))
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    return made_run(tmp_path_factory.mktemp("tools") / "run").root


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Contents and times of all files."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_every_tool_is_in_the_table():
    assert set(READERS) == set(ARGUMENTS)


@pytest.mark.parametrize("style", ["table", "json", "csv"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_complete_run_is_read_and_not_changed(name, style, complete, tmp_path, start):
    before = tree(complete)
    status, out, err = start(name, *ARGUMENTS[name](str(complete), tmp_path), *([f"--{style}"] if style != "table" else []))
    assert (status, err) == (0, "") and out, err
    if style == "json":
        assert all(isinstance(rows, list) for rows in json.loads(out).values())
    if style == "csv":
        header, *rows = csv.reader(out.splitlines())
        assert all(len(row) == len(header) for row in rows) and (rows or name == "verify")
    assert tree(complete) == before


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_run_that_is_being_written_is_read_and_not_changed(name, complete, tmp_path, start):
    run = ConfiguredRun.open(shutil.copytree(complete, tmp_path / "run"))
    run.dir.search.complete.unlink()
    journal = Journal(run.dir.search.journal)
    write(journal, trial(12, parent=11), 200.0)
    with open(run.dir.search.journal, "ab") as file:
        file.write(b'{"elapsed": 210.0, "event": "res')
    (run.dir.root / ".archive.h5.part").write_bytes(b"half")
    before = tree(run.dir.root)
    status, out, err = start(name, *ARGUMENTS[name](str(run.dir.root), tmp_path))
    assert (status, err) == (0, "") and out, err
    assert tree(run.dir.root) == before


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_run_that_was_cut_off_is_read_or_refused_with_a_line_and_not_changed(name, complete, tmp_path, start):
    rng = random.Random(name)
    files = ["archive.h5", "journal.jsonl", "config.toml", "model_card.json", "ensemble/ensemble.h5", "weights/000/000005.h5"]
    for number, file in enumerate(files):
        root = shutil.copytree(complete, tmp_path / f"run-{number}")
        whole = (root / file).read_bytes()
        (root / file).write_bytes(whole[: rng.randrange(len(whole))])
        before = tree(root)
        status, out, err = start(name, *ARGUMENTS[name](str(root), tmp_path / str(number)))
        assert status in (0, 1, 2) and "Traceback" not in err, err
        assert (status == 2) == (err.count("\n") == 1 and not err.startswith("note: ")), (status, err)
        assert out or status == 2
        assert tree(root) == before


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_is_no_run_is_refused_with_a_line(name, tmp_path, start):
    status, out, err = start(name, *ARGUMENTS[name](str(tmp_path / "nothing"), tmp_path))
    assert status == 2 and err.startswith("RunError: ") and "holds no run" in err and err.count("\n") == 1 and not out.strip()


def test_no_tool_starts_mpi_and_only_show_needs_torch():
    """In a process of its own, where nothing is imported yet."""
    program = (
        "import importlib.util, sys\n"
        "for path in sys.argv[1:]:\n"
        "    spec = importlib.util.spec_from_file_location('tool', path)\n"
        "    spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "    found = {'mpi4py', 'horovod', 'torch'} & set(sys.modules)\n"
        "    print(path, sorted(found))\n"
    )
    order = sorted(READERS.values(), key=lambda path: path.stem == "show")
    done = subprocess.run([sys.executable, "-c", program, *order], capture_output=True, text=True, check=True)
    loaded = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert loaded == {str(path): "['torch']" if path.stem == "show" else "[]" for path in order}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_help_has_examples_and_scripts_can_be_started(name, start):
    status, out, _ = start(name, "--help")
    assert status == 0 and out.count(f"tools/{name}.py") >= 2
    assert os.access(TOOLS / f"{name}.py", os.X_OK)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("top", ["--where", "parms<1"], 'unknown column "parms"; known: run, id'),
        ("top", ["--columns", "id,scores"], 'unknown column "scores"'),
        ("top", ["--sort", "x"], 'unknown column "x"'),
        ("lineage", ["--trial", "99"], 'no trial "99"; known: 0 to 11, or best'),
        ("compare", ["--by", "strategy.nam"], 'no run has the key "strategy.nam"'),
        ("prune", ["--keep", "0"], "--keep 0: must be at least 1"),
        ("merge", ["--out", str(TOOLS)], "exists already"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(name, arguments, message, complete, start):
    status, _, err = start(name, str(complete), *arguments)
    assert status == 2 and message in err and err.count("\n") == 1, err


def test_a_reader_that_stops_reading_ends_a_tool_quietly(complete):
    command = (
        f"{sys.executable} {TOOLS / 'top.py'} {' '.join([str(complete)] * 100)} -k 0 --csv | head -1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_every_picture_is_drawn_in_every_format(complete, tmp_path, start):
    status, out, err = start("plot", str(complete), str(complete), "--out", str(tmp_path), "--format", "svg,png", "--json")
    assert status == 0, err
    names = {row["picture"] for row in json.loads(out)["pictures"]}
    assert names >= {"progress", "params", "lineage", "ensemble", "confusion", "by_steps", "by_time", "by_trials"}
    assert all((tmp_path / f"runs-by_{axis}.svg").read_text().startswith("<?xml") for axis in ("steps", "time", "trials"))
    status, _, err = start("plot", str(complete), "--out", str(tmp_path), "--only", "by_steps")
    assert status == 2 and "no such picture of these runs; there are brought_in" in err


def test_verify_says_damage_by_its_status_and_repairs(complete, tmp_path, start):
    root = shutil.copytree(complete, tmp_path / "run")
    (root / "archive.h5").write_bytes(b"")
    status, out, _ = start("verify", str(root))
    assert status == 1 and "archive.h5" in out and "1 damaged or lost" in out
    status, out, _ = start("verify", str(root), "--repair")
    assert status == 0 and "wrote" in out and "sound" in out
    assert start("verify", str(root))[0] == 0


def test_merged_runs_are_one_to_go_on_from(complete, tmp_path, start):
    other = made_run(tmp_path / "other", seed=1, strategy="random").root
    status, out, err = start("merge", str(complete), str(other), "--out", str(tmp_path / "merged"))
    assert status == 0 and "24 trials" in out, err
    run = ConfiguredRun.open(tmp_path / "merged")
    assert verify(run) == [] and not run.dir.search.complete.exists()
    archive = Archive(record.event for record in replay(run.dir.search.journal))
    theirs = ConfiguredRun.open(other).archive()
    assert len(archive.trials) == 24 and archive.steps == 2 * theirs.steps
    for id_, one in theirs.trials.items():
        now = archive.trials[12 + id_]
        assert now.architecture == one.architecture and archive.results[12 + id_].score == pytest.approx(
            theirs.results[id_].score, nan_ok=True
        )
        assert now.proposal.parent == (None if one.proposal.parent is None else 12 + one.proposal.parent)
    before, after = (weights.load_arrays(r.dir.search.weights(i)) for r, i in ((ConfiguredRun.open(other), 5), (run, 17)))
    assert all((before[name] == after[name]).all() for name in before)


def test_runs_of_other_data_are_not_merged(complete, tmp_path, start):
    other = shutil.copytree(complete, tmp_path / "other")
    (other / "config.toml").write_text(
        (other / "config.toml").read_text().replace('name = "builtin_kws"', 'name = "builtin_lid"')
    )
    status, _, err = start("merge", str(complete), str(other), "--out", str(tmp_path / "merged"))
    assert status == 2 and "data.name = 'builtin_lid', but 'builtin_kws'" in err
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_prune_removes_what_it_listed_and_nothing_else(complete, tmp_path, start):
    root = shutil.copytree(complete, tmp_path / "run")
    rows = json.loads(start("prune", str(root), "--keep", "3", "--json")[1])["weights"]
    going = {row["trial"] for row in rows if row["what"] == "goes"}
    assert going and 11 not in going
    before = tree(root)
    assert start("prune", str(root), "--keep", "3", "--yes")[0] == 0
    run, after = ConfiguredRun.open(root), tree(root)
    assert set(before) - set(after) == {f"weights/000/{id_:06d}.h5" for id_ in going}
    assert set(after) - set(before) == {"pruned.txt"} and all(before[name] == after[name] for name in set(before) & set(after))
    assert run.dir.pruned_trials == going and verify(run) == []


def test_checkpoints_go_unless_their_trial_may_go_on(complete, tmp_path, start):
    root = shutil.copytree(complete, tmp_path / "run")
    journal = Journal(root / "journal.jsonl")
    write(journal, trial(12, parent=11), 200.0)
    del journal
    (root / "checkpoints").mkdir()
    for id_ in (2, 5, 12, 13):  # paused, completed, running, unknown
        (root / "checkpoints" / f"{id_:06d}.pt").write_bytes(id_ * b"x")
    (root / "complete").unlink()

    def going(*arguments: str) -> dict[int, int]:
        rows = json.loads(start("prune", str(root), "--keep", "20", "--json", *arguments)[1])["checkpoints"]
        return {row["trial"]: row["bytes"] for row in rows if not row["what"].startswith("stays")}

    assert going() == {5: 5}
    status, out, _ = start("prune", str(root), "--keep", "20")
    assert status == 0 and "would be removed with --yes: 1 of 15 files, 5 B" in out
    (root / "complete").touch()
    assert going("--yes") == {2: 2, 5: 5, 12: 12}
    assert [path.name for path in (root / "checkpoints").iterdir()] == ["000013.pt"]
    assert ConfiguredRun.open(root).dir.pruned_trials == frozenset()


def test_nothing_is_pruned_while_a_search_writes(complete, tmp_path, start):
    root = shutil.copytree(complete, tmp_path / "run")
    journal = Journal(root / "journal.jsonl")
    before = tree(root)
    status, _, err = start("prune", str(root), "--keep", "1", "--yes")
    assert status == 2 and "a search is writing this run" in err and tree(root) == before
    del journal
