"""What is handed on: a wheel that works without this tree, a source archive that makes the same wheel, licence and citation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hpcnas

ROOT = Path(__file__).parent.parent
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")


def run(*command: object, cwd: Path, **more: str) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, env={**os.environ, **more}, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(tree: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, tree, cwd=folder)
    (wheel,) = folder.glob("hpcnas-*.whl")
    return wheel


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Of the sources that git would commit, which leave no trace in the tree."""
    folder = tmp_path_factory.mktemp("sources")
    names = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "tree" / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "setup.py", "-q", "sdist", "-d", folder, cwd=folder / "tree")
    (archive,) = folder.glob("hpcnas-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(archive, tmp_path_factory) -> Path:
    return wheel_of(archive, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_the_whole_package_its_data_and_its_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "hpcnas").rglob("*.py")}
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "hpcnas").rglob("*.html")}
    assert data and modules | data | {"hpcnas/py.typed"} <= names
    assert [name for name in names if name.endswith("LICENSE")] and not [name for name in names if name.startswith("tests")]


def test_the_source_archive_has_what_set_up_and_tests_need(archive):
    with tarfile.open(archive) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    assert {
        "Makefile",
        "constraints.txt",
        "tools/setup_env.sh",
        "tests/conftest.py",
        "docs/install.md",
        "CITATION.cff",
    } <= names
    assert {"jobs/kws.toml", "jobs/search.slurm", "LICENSE"} <= names


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> dict[str, str]:
    """An environment in which the wheel, beside the packages that it needs, comes before this tree."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "-t", folder, wheel, cwd=folder)
    return {"PYTHONPATH": str(folder), "COLUMNS": "200"}


LOAD = """
import sys
from importlib.metadata import distribution
import hpcnas
print(hpcnas.__file__, *(script.name for script in distribution("hpcnas").entry_points if callable(script.load())))
"""


def test_every_console_script_of_the_wheel_has_its_program(installed, tmp_path):
    where, *loaded = run(sys.executable, "-c", LOAD, cwd=tmp_path, **installed).split()
    assert where.startswith(installed["PYTHONPATH"])
    assert set(loaded) == set(re.findall(r'"(hpcnas-\w+) = ', SETUP)) and "hpcnas-search" in loaded
    report = Path(installed["PYTHONPATH"]) / "bin" / "hpcnas-report"
    assert "usage: " in run(sys.executable, report, "--help", cwd=tmp_path, **installed)


def test_the_doctor_of_the_wheel_knows_where_it_is(installed, tmp_path):
    said = run(sys.executable, "-m", "hpcnas.doctor", cwd=tmp_path, **installed)
    assert "A search would run here." in said


def test_one_version_and_one_licence_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == hpcnas.__version__ == re.search(r'version="(.*)"', SETUP)[1]
    assert "license: Apache-2.0\n" in citation and 'license="Apache-2.0"' in SETUP
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
