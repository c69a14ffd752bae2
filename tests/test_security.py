"""What could run somebody else's code: pickles, and Horovod's server, which unpickles what it is sent (CVE-2024-10190)."""

from __future__ import annotations

import ast
import os
import pickle
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from hpcnas.core.errors import RunError
from hpcnas.nn.averaging import Average
from hpcnas.runtime import checkpoint
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SOURCES = sorted(
    str(path.relative_to(ROOT)) for folder in ("hpcnas", "tools", "examples") for path in (ROOT / folder).rglob("*.py")
)
OF_HOROVOD = {"horovod.torch"}
PICKLING_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "yaml"}
PICKLING_CALLS = {
    "send", "isend", "ssend", "issend", "recv", "irecv", "sendrecv", "bcast", "gather", "allgather", "scatter", "alltoall",
}  # fmt: skip
"""Of mpi4py; those that begin with a capital send arrays as they are."""
OF_HOROVODS_OBJECTS = {"broadcast_object", "allgather_object", "elastic", "run"}


@cache
def tree_of(source: str) -> ast.AST:
    return ast.parse((ROOT / source).read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def words(node: ast.Call) -> dict[str, object]:
    return {word.arg: getattr(word.value, "value", None) for word in node.keywords}


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_reaches_horovods_server(source):
    assert {name for name in imported(tree_of(source)) if name.split(".")[0] == "horovod"} <= OF_HOROVOD
    for call in calls(tree_of(source)):
        of = ast.unparse(call.func.value)
        assert not (("hvd" in of or "horovod" in of) and call.func.attr in OF_HOROVODS_OBJECTS), ast.unparse(call)


@pytest.mark.parametrize("source", SOURCES)
def test_no_file_is_unpickled_freely(source):
    tree = tree_of(source)
    assert not {name for name in imported(tree) if name.split(".")[0] in PICKLING_MODULES} - {"pickle.UnpicklingError"}
    for call in calls(tree):
        name = ast.unparse(call.func)
        if name == "torch.load":
            assert words(call).get("weights_only") is True, ast.unparse(call)
        assert not words(call).get("allow_pickle"), ast.unparse(call)


def test_every_pickle_between_ranks_or_processes_is_listed():
    def sends(source: str) -> bool:
        return any(
            call.func.attr in {*PICKLING_CALLS, "Pool"} and "torch" not in ast.unparse(call.func)
            for call in calls(tree_of(source))
        )

    of_several = ("mpi4py", "multiprocessing")
    pickling = {
        source
        for source in SOURCES
        if any(name.split(".")[0] in of_several for name in imported(tree_of(source))) and sends(source)
    }
    pickling |= {source for source in SOURCES if any(ast.unparse(c.func) == "torch.load" for c in calls(tree_of(source)))}
    pickling |= {f"hpcnas/runtime/{name}.py" for name in ("server", "worker", "channel")}
    assert pickling and not {source for source in pickling if f"`{source.removeprefix('hpcnas/')}`" not in PAGE}


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Leader:
    """The channel of a group of one."""

    is_leader = True

    def tell(self, order):
        return order


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))], ids=["torch", "pickle"]
)
def test_code_in_a_checkpoint_is_not_run_and_the_file_is_named(write, tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    path, trace = tmp_path / "000007.pt", tmp_path / "was-here"
    write({"model": Hostile(trace), "optimizer": {}, "so_far": {}}, path)
    with pytest.raises(RunError, match=r"000007\.pt: cannot be read as a checkpoint") as error:
        checkpoint.restore(path, model, Average(model, 1), optimizer, Leader())
    assert not trace.exists() and "\n" not in str(error.value)


def test_a_search_in_groups_starts_no_server_and_lets_horovod_unpickle_nothing(mpirun, tiny, tmp_path):
    program = str(ROOT / "tests" / "programs" / "no_server.py")
    run = tmp_path / "run"
    done = mpirun(3, program, *tiny, "--set", "search.group_size=2", "--set", "search.max_trials=2", "--run", str(run))
    assert done.returncode == 0 and "FORBIDDEN" not in done.output, done.output
    assert len(archive_of(RunDir(run).search.journal).ranking) == 2
