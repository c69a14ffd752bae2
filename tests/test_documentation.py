"""What ``docs/`` says is so: its code runs, its tables name what is in the files."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import runpy
import shlex
import sys
import types
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import completed, made_run

import hpcnas
from hpcnas import report
from hpcnas.core.archive import Archive
from hpcnas.core.space import SearchSpace
from hpcnas.core.strategies import STRATEGIES
from hpcnas.core.trial import Trial
from hpcnas.nn.blocks import BLOCK_TYPES, BLOCKS
from hpcnas.nn.model import Surroundings, build_model
from hpcnas.store.archive_file import COLUMNS
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir

DOCS = Path(__file__).parents[1] / "docs"
ARCHIVE = (DOCS / "archive.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    return made_run(tmp_path_factory.mktemp("docs") / "runs" / "default")


def section(title: str) -> str:
    return ARCHIVE.split(f"\n## {title}")[1].split("\n## ")[0]


def test_files_and_names_of_the_page_about_architecture_are_there():
    page, package = (DOCS / "architecture.md").read_text(encoding="utf-8"), Path(hpcnas.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    quoted = set(re.findall(r"`([^`]+)`", "".join(page.split("```")[::2])))
    places = {name for name in quoted if re.fullmatch(r"[\w/]+(/|\.py)", name)} - {"tests/test_layers.py", "tools/"}
    names = {name for name in quoted if re.fullmatch(r"[A-Z]\w+", name)}
    assert len(places) > 20 and len(names) > 20
    assert [place for place in places if not (package / place).exists()] == []
    assert [name for name in names if not re.search(rf"^(class {name}\b|{name}\b.* = )", source, re.M)] == []


def test_five_lines_of_h5py_and_pandas_read_the_archive(run, capsys, monkeypatch):
    pytest.importorskip("pandas", reason="pandas is in the extra [test]")
    (code,) = re.findall("```python\n(.*?)```", ARCHIVE, re.S)
    assert sum(bool(line.strip()) for line in code.splitlines()) == 5
    monkeypatch.chdir(run.root.parents[1])
    names: dict = {}
    exec(code, names)
    archive = Archive(record.event for record in replay(run.search.journal))
    assert (
        capsys.readouterr().out.count("\n") == 11
        and len(names["trials"]) == 12
        and set(names["trials"].columns) == set(COLUMNS)
    )
    assert names["trials"]["id"].head(10).tolist() == [trial.id for trial in archive.best(10)]


def test_every_dataset_is_in_the_table_with_its_type_and_unit(run):
    rows = re.findall(r"^\| `(\w+)` \| (integer|float|text) \|([^|]*)\| [^|]+ \|$", section("archive.h5"), re.M)
    kinds = {int: "integer", float: "float", str: "text"}
    assert [(name, kind, unit.strip()) for name, kind, unit in rows] == [
        (name, kinds[column.kind], column.unit) for name, column in COLUMNS.items()
    ]
    with h5py.File(run.archive) as file:
        assert set(file["trials"]) == {name for name, *_ in rows}
        for name, kind, _ in rows:
            dtype = file["trials"][name].dtype
            assert (
                (dtype == {"integer": np.int64, "float": np.float64}[kind])
                if kind != "text"
                else h5py.check_string_dtype(dtype)
            )


def test_every_key_of_a_line_is_named(run):
    rows = re.findall(r"^\| `(trial|result)` \| (.*) \|$", section("journal.jsonl"), re.M)
    named = {event: set(re.findall(r"`(\w+)`", cells)) for event, cells in rows}
    for line in run.search.journal.read_bytes().splitlines():
        fields = json.loads(line)
        assert set(fields) - {"event", "elapsed", "crc32"} <= named[fields["event"]]
        before = line.rpartition(b', "crc32"')[0]
        assert f"{zlib.crc32(before):08x}" == fields["crc32"]


def test_weights_and_ensembles_are_as_described(run):
    with h5py.File(run.search.weights(4)) as file:
        assert set(file.attrs) == {"format", "trial", "architecture"} and set(file) == {"arrays", "logits"}
        assert file.attrs["format"] == 1 and file["logits/validation"].dtype == np.float32
    with h5py.File(run.ensemble_file) as file:
        assert set(file.attrs) == {"format", "class_names"} and set(file) == {"members", "weights", "logits", "labels"}
        assert file.attrs["format"] == 2 and file["members"].asstr()[0] == "ensemble/0" and file["weights"].dtype == np.float64


def test_checksums_are_those_of_the_page(run):
    for path in run.root.rglob("*.h5"):
        data = path.read_bytes()
        assert data[:512].decode().strip() == f"sha256 of all bytes from 512 on: {hashlib.sha256(data[512:]).hexdigest()}"
    (example,) = re.findall("```\n(sha256.*)\n```", section("Checksums"))
    assert re.fullmatch("sha256 of all bytes from 512 on: [0-9a-f]{64}", example)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_scripts_that_pages_name_exist(page):
    for name in set(re.findall(r"\btools/(\w+\.(?:py|sh))\b", page.read_text(encoding="utf-8"))):
        assert (DOCS.parent / "tools" / name).exists(), name


def commands(page: str) -> list[str]:
    blocks = re.findall("```bash\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands of docs/tools.md are run."""
    root = tmp_path_factory.mktemp("folder")
    made_run(root / "runs" / "default", strategy="incremental")
    for seed in (0, 1):
        made_run(root / "runs" / f"seed-{seed}", seed=seed)
        made_run(root / "runs" / f"random-{seed}", seed=seed, strategy="random")
    return root


@pytest.mark.parametrize("command", commands("tools.md"))
def test_commands_of_the_page_about_tools_run(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    program, *words = shlex.split(command.removeprefix("python -m "))
    arguments = [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]
    if program == "hpcnas.report":
        report.main(arguments)
    else:
        runpy.run_path(str(DOCS.parent / program))["main"](arguments)
    out, err = capsys.readouterr()
    assert out and not err


def test_every_tool_is_on_the_page_about_tools():
    text = (DOCS / "tools.md").read_text(encoding="utf-8")
    scripts = [path for path in (DOCS.parent / "tools").glob("*.py") if "hpcnas.analysis" in path.read_text()]
    assert len(scripts) == 11 and all(f"tools/{path.name} " in text for path in scripts)


def test_the_parts_of_the_page_about_own_parts_take_part_in_a_search(monkeypatch):
    page = (DOCS / "extending.md").read_text(encoding="utf-8")
    for table, name in ((BLOCKS, "gated"), (STRATEGIES, "hill_climbing")):
        monkeypatch.setitem(table, name, None)  # what the page puts there is taken out again behind the test
    for code in re.findall("```python\n(.*?)```", page, re.S):
        own = types.ModuleType("own")
        monkeypatch.setitem(sys.modules, "own", own)  # dataclasses look for their module
        exec(code, vars(own))
    monkeypatch.setitem(BLOCK_TYPES, "gated", BLOCKS["gated"].type)
    strategy = STRATEGIES["hill_climbing"]()
    space = SearchSpace((BLOCK_TYPES["gated"], BLOCK_TYPES["dense"]), max_depth=3)
    rng, archive = np.random.default_rng(0), Archive()
    for id_ in range(8):
        proposal = strategy.propose(archive, space, rng)
        assert proposal.architecture in space
        logits = build_model(proposal.architecture, Surroundings(10, 3), 0)(torch.randn(2, 10, 30))
        assert logits.shape == (2, 3)
        archive.add(Trial(id_, proposal, seed=id_))
        archive.add(completed(id_, id_ / 10))
