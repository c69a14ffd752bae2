"""Who may import whom: core knows nobody, data, nn and store know core only, runtime and the programs know them all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hpcnas"
ALLOWED = {
    "core": {"core"},
    "data": {"core", "data"},
    "nn": {"core", "nn"},
    "store": {"core", "store"},
    "zoo": {"core", "nn", "zoo"},
    "showing": {"core", "showing"},
    "config": {"core", "data", "nn", "store", "zoo"},
    "runtime": {"core", "data", "nn", "store", "runtime", "config", "showing", "zoo"},
    "use": {"core", "data", "nn", "store", "config", "use"},
    "deploy": {"core", "data", "nn", "store", "config", "use", "deploy"},
    "judging": {"core", "data", "nn", "store", "runtime", "config", "zoo", "use", "showing", "judging"},
    "analysis": {"core", "store", "analysis", "showing"},
    "search": {"core", "data", "nn", "store", "runtime", "config", "zoo"},
    "ensemble": {"core", "data", "judging", "nn", "store", "runtime", "config"},
    "distil": {"core", "judging", "nn", "store", "runtime", "config"},
    "adapt": {"core", "data", "nn", "store", "runtime", "config", "use"},
    "mine": {"core", "judging", "runtime", "config", "use", "showing"},
    "compare": {"core", "nn", "store", "runtime", "config", "judging", "showing"},
    "report": {"core", "store", "analysis", "showing", "judging"},
    "evaluate": {"core", "data", "nn", "store", "runtime", "config", "use", "judging", "showing"},
    "detect": {"core", "data", "store", "runtime", "config", "use", "showing"},
    "export": {"core", "store", "runtime", "config", "use", "deploy", "showing"},
    "track": {"core", "store", "showing"},
    "doctor": {"core", "data", "runtime", "showing"},
}
ONLY_IN = {
    # The library's is for annotations: it loads torch when a model is asked for.
    "torch": {"nn", "use", "runtime", "deploy", "export"},
    "onnx": {"deploy"},
    "onnxruntime": {"deploy"},
    "mpi4py": {"runtime", "search", "ensemble", "distil", "compare", "adapt"},
    "horovod": {"runtime/engines/horovod.py"},
    "h5py": {"data", "store"},
}
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


def imports(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_the_right_way(module: Path):
    layer = module.parts[0].removesuffix(".py")
    for name in imports(module):
        top, *rest = name.split(".")
        if top == "hpcnas" and rest:
            assert rest[0] in ALLOWED[layer] | {"__version__"}, f"{module} imports {name}"
        if top in ONLY_IN:
            assert layer in ONLY_IN[top] or str(module) in ONLY_IN[top], f"{module} imports {name}"


def test_programs_of_one_process_start_no_mpi():
    """Importing mpi4py initialises MPI, which login nodes and job steps without a launcher may refuse."""
    programs = [f"hpcnas.{name}" for name in ("evaluate", "mine", "detect", "export", "report", "track", "use.library")]
    lines = ["import runpy, sys", "sys.modules.update(mpi4py=None, horovod=None)", *(f"import {name}" for name in programs)]
    lines += [f"runpy.run_path({str(tool)!r})" for tool in sorted((PACKAGE.parent / "tools").glob("*.py"))]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_core_uses_numpy_and_for_what_is_significant_scipy():
    for module in MODULES:
        if module.parts[0] == "core":
            foreign = {name.split(".")[0] for name in imports(module)} - set(sys.stdlib_module_names)
            assert foreign <= {"hpcnas", "numpy", *(["scipy"] if module.stem == "significance" else [])}, module


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_private_function_is_called(module: Path):
    nodes = list(ast.walk(ast.parse((PACKAGE / module).read_text())))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name[0] == "_" != node.name[1]}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert not defined - names - {node.attr for node in nodes if isinstance(node, ast.Attribute)}
