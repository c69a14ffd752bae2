"""What averages the gradients of a group: every engine does it alike, for one group after the other."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from hpcnas.core.errors import ConfigError, LaunchError
from hpcnas.core.roster import ENGINES as NAMES
from hpcnas.core.roster import ClusterConfig
from hpcnas.runtime import engines
from hpcnas.runtime.engines import ENGINES, ddp, horovod
from hpcnas.runtime.together import SoloWorld
from hpcnas.store.run_dir import RunDir

PROGRAM = str(Path(__file__).parent / "programs" / "engines.py")


class World(SoloWorld):
    """Of two ranks, the other of which has another engine."""

    def allgather(self, value):
        return [value, "ddp" if isinstance(value, str) else value]


def lines(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if line.split()[0] in ENGINES]


def test_the_configuration_knows_the_engines_of_the_table():
    assert set(NAMES) == {"auto", *ENGINES}
    with pytest.raises(ConfigError, match=r'cluster.engine = "gloo": unknown; known: auto, horovod, ddp'):
        ClusterConfig(engine="gloo")


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_engine_trains_the_same_model_on_every_rank(mpirun, ranks):
    done = mpirun(ranks, PROGRAM, "compare")
    assert done.returncode == 0, done.output
    found = defaultdict(list)
    for name, _, *values in lines(done.output):
        found[name].append([float(value) for value in values])
    expected = None
    for name, of in found.items():
        assert len(of) == 3 * ranks, f"{name}: {done.output}"
        models, sums = np.array(of)[:, :-4], np.array(of)[:, -4:-2]
        assert (models == models[0]).all(), f"{name}: ranks, or one group and the next, differ"
        assert (sums == [ranks * (ranks + 1) / 2, 10 * ranks]).all()
        expected = models[0] if expected is None else expected
        np.testing.assert_allclose(models[0], expected, rtol=1e-5, err_msg=name)
    owns = {tuple(values[-2:]) for of in found.values() for values in of}
    assert owns == {(rank + 1.0, 10.0) for rank in range(ranks)}, "what was summed was changed"
    assert "ddp" in found and ("horovod" in found or not horovod.is_installed())


def test_mates_of_a_rank_that_leaves_hear_of_it_and_form_another_group_with_it(mpirun):
    done = mpirun(2, PROGRAM, "leave")
    assert done.returncode == 0, done.output
    said = sorted(line for line in lines(done.output) if line[0] == "ddp")
    assert said == [["ddp", "0", "2.0"], ["ddp", "0", "lost"], ["ddp", "1", "2.0"], ["ddp", "1", "raised"]], done.output


def test_a_mate_that_does_not_come_is_given_up(mpirun):
    done = mpirun(3, PROGRAM, "stall")
    assert done.returncode == 0, done.output
    assert sorted(lines(done.output)) == [["ddp", "0", "lost", "True"], ["ddp", "2", "lost", "True"]], done.output


def test_without_horovod_a_group_of_several_trains_by_ddp_and_says_so(mpirun, tiny, tmp_path, monkeypatch):
    (tmp_path / "site" / "sitecustomize.py").parent.mkdir()
    hide = (
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda n, *a: None if n == 'horovod' else find(n, *a)\n"
    )
    (tmp_path / "site" / "sitecustomize.py").write_text(hide)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    run = tmp_path / "run"
    done = mpirun(3, "hpcnas.search", *tiny, "--set", "search.group_size=2", "--set", "search.max_trials=2", "--run", str(run))
    assert done.returncode == 0, done.output
    assert done.output.count("groups of 2 average their gradients by ddp since Horovod is not installed") == 1, done.output
    assert '"engine": "ddp"' in RunDir(run).environment.read_text()


def test_an_engine_that_cannot_be_had_is_refused_with_a_way_out(monkeypatch):
    world = SoloWorld()
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    with pytest.raises(LaunchError, match=r'Horovod cannot be loaded .*; run tools/build_horovod.sh .* cluster.engine = "ddp"'):
        engines.check(world, ClusterConfig(engine="horovod"))
    monkeypatch.setattr(ddp.dist, "is_gloo_available", lambda: False)
    with pytest.raises(LaunchError, match=r'cluster.engine = "ddp": torch .* without gloo; .* cluster.engine = "horovod"'):
        engines.check(world, ClusterConfig(engine="ddp"))
    monkeypatch.undo()
    monkeypatch.setattr(ddp.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ddp.dist, "is_nccl_available", lambda: False)
    with pytest.raises(LaunchError, match="has no NCCL for the GPUs here"):
        engines.check(world, ClusterConfig(engine="ddp"))


def test_horovod_on_some_ranks_only_is_refused(monkeypatch):
    monkeypatch.setattr(horovod, "is_installed", lambda: True)
    with pytest.raises(LaunchError, match=r'cluster.engine = "auto": Horovod is not installed for rank\(s\) 1 and is for the'):
        engines.check(World(), ClusterConfig())
    assert engines.check(World(), ClusterConfig(engine="ddp")) == "ddp"
