"""The notebooks of ``examples/``: they run to their end, and what is stored of them is what they print and draw."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDS = {"look_at_a_run": ("espeakng_loader",), "recordings_to_tflite": ("espeakng_loader", "pymicro_features", "litert_torch")}
"""Optional packages of each notebook."""


def kinds(cells: list) -> list[set[str]]:
    """What each cell of code gives: texts, tables, pictures."""
    return [{kind for one in cell.outputs for kind in one.get("data", {one.get("name", one.output_type)})} for cell in cells]


def test_every_notebook_is_in_the_table():
    assert {path.stem for path in (ROOT / "examples").glob("*.ipynb")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_a_notebook_runs_and_has_its_output(name, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbclient is in the extra [test]")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is in the extra [test]")
    for package in NEEDS[name]:
        pytest.importorskip(package, reason=f"{package} is in one of the extras [speech], [micro] and [litert]")
    source = ROOT / "examples" / f"{name}.ipynb"
    assert source.stat().st_size < 200_000
    (tmp_path / "examples").mkdir()
    for path in (ROOT / "tools", *(ROOT / "examples").glob("*.py")):
        (tmp_path / path.relative_to(ROOT)).symlink_to(path)
    monkeypatch.setenv("PATH", f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("HPCNAS_CACHE", str(tmp_path / "cache"))
    stored = nbformat.read(source, as_version=4)
    nbformat.validate(stored)
    done = nbformat.from_dict(stored)
    nbclient.NotebookClient(done, timeout=240, resources={"metadata": {"path": str(tmp_path / "examples")}}).execute()
    old, new = ([cell for cell in one.cells if cell.cell_type == "code"] for one in (stored, done))
    assert [cell.execution_count for cell in old] == list(range(1, len(old) + 1)), "it was run from the top"
    assert kinds(old) == kinds(new) and sum(map(bool, kinds(new))) > 2
