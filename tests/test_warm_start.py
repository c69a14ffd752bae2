"""Searches that begin with what another run found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import SPACE, completed, files, made_run

from hpcnas import config as configuration
from hpcnas.analysis import soundness
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.architecture import Architecture
from hpcnas.core.archive import Archive
from hpcnas.core.errors import ArchitectureError, RunError
from hpcnas.core.strategies import STRATEGIES
from hpcnas.core.trial import Cost, Proposal, Trial
from hpcnas.runtime import warm_start
from hpcnas.store import origins_file, weights
from hpcnas.store.journal import archive_of
from hpcnas.store.run_dir import RunDir

KINDS = '["dense", "gru", "tdnn"]'


def config_of(*settings: str) -> configuration.Config:
    return configuration.load(None, [f"space.blocks={KINDS}", "search.zoo=[]", "search.max_trials=48", *settings])


def measure(tower: Architecture) -> Cost:
    """A hundred parameters a block."""
    return Cost(100 * tower.depth, 10, 10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return made_run(tmp_path_factory.mktemp("made") / "run", trials=20)


@pytest.fixture
def elder(made: RunDir, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(made.root, tmp_path / "elder"))


@pytest.fixture
def other(made: RunDir, tmp_path: Path) -> RunDir:
    """Begun without what an older run found."""
    return RunDir(shutil.copytree(made.root, tmp_path / "new"))


def begun(tmp_path: Path, elder: RunDir) -> RunDir:
    run = RunDir(tmp_path / "new")
    warm_start.begin(run, elder.root)
    return run


def starts(run: RunDir, config: configuration.Config, others: tuple[Proposal, ...] = ()) -> list[Proposal]:
    return warm_start.starts(run, config, ("no", "maybe"), measure, others)


def test_members_of_the_ensemble_and_trials_of_several_lines_come_first(tmp_path, elder):
    before = files(elder.root)
    found = starts(begun(tmp_path, elder), config_of())
    archive = archive_of(elder.search.journal)
    assert len(found) == warm_start.MODELS and files(elder.root) == before
    assert found[0].mutation == "warm ensemble/0" and all(proposal.is_suggestion for proposal in found)
    ids = [int(proposal.mutation.removeprefix("warm search/")) for proposal in found[1:]]
    assert all(archive.trials[id_].architecture == proposal.architecture for id_, proposal in zip(ids, found[1:]))
    assert len({archive.lineage(id_)[0].id for id_ in ids}) > 1


def test_what_was_chosen_is_chosen_for_good_though_the_other_run_is_gone(tmp_path, elder):
    run = begun(tmp_path, elder)
    first = starts(run, config_of())
    shutil.rmtree(elder.root)
    assert starts(run, config_of()) == first
    assert all("blocks.0.weight" in weights.load_arrays(run.search.donor(proposal.donor)) for proposal in first[1:])


def test_a_classifier_of_other_classes_is_left_behind(tmp_path, elder):
    run = begun(tmp_path, elder)
    (member, trial, *_) = starts(run, config_of())
    assert "classifier.weight" in weights.load_arrays(elder.ensemble.weights(0))
    assert weights.load_arrays(run.search.donor(member.donor)) == {}
    assert np.array_equal(
        weights.load_arrays(run.search.donor(trial.donor))["blocks.0.weight"],
        weights.load_arrays(elder.search.weights(int(trial.mutation.partition("/")[2])))["blocks.0.weight"],
    )


def test_one_of_the_same_classes_is_taken_over(tmp_path, elder):
    run = begun(tmp_path, elder)
    (member, *_) = warm_start.starts(run, config_of(), ("no", "yes"), measure, ())
    assert "classifier.weight" in weights.load_arrays(run.search.donor(member.donor))


def test_towers_whose_weights_are_gone_are_said_and_start_at_random(tmp_path, elder, caplog):
    best = archive_of(elder.search.journal).best(2)
    elder.search.weights(best[0].id).unlink()
    elder.search.weights(best[1].id).write_bytes(b"damaged")
    shutil.rmtree(elder.ensemble.root)
    found = starts(begun(tmp_path, elder), config_of())
    assert [proposal.donor for proposal in found[:3]] == [None, None, 2]
    said = f"the weights of search/{best[0].id}, search/{best[1].id} are gone or damaged: these towers start at random"
    assert said in caplog.text


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("space.max_depth=2", "blocks, over max_depth = 2"),
        ('space.blocks=["dense", "tdnn"]', "block gru is not in space.blocks"),
        ("space.causal=true", ""),
        ("space.max_params=250", "params = 300, over max_params = 250"),
    ],
)
def test_towers_outside_the_space_or_its_limits_are_left_out_and_said(setting, why, tmp_path, elder, caplog):
    caplog.set_level("INFO")
    config = config_of("space.fit=false", setting)
    found = starts(begun(tmp_path, elder), config)
    assert found and why in caplog.text
    if why:
        space = config.space.build()
        assert all(len(proposal.architecture.blocks) <= space.max_depth for proposal in found)
        assert not any(why in str(proposal.architecture) for proposal in found)


def test_blocks_of_what_the_search_begins_with_else_count_as_the_spaces(tmp_path, elder):
    suggestion = Proposal(Architecture.parse("gru:units=4"), None, "suggestion")
    found = starts(begun(tmp_path, elder), config_of('space.blocks=["dense", "tdnn"]'), (suggestion,))
    assert any("gru" in str(proposal.architecture) for proposal in found if proposal.is_warm) and found[-1] == suggestion


def test_what_the_other_run_has_tried_of_the_zoo_is_not_tried_again(tmp_path, elder):
    run = begun(tmp_path, elder)
    origins = origins_file.Origins(str(elder.root), True, (), ("zoo TENet6",))
    origins_file.save(run.search.origins, origins)
    tried, other = (Proposal(Architecture.parse("dense:units=8"), None, f"zoo {name}") for name in ("TENet6", "Res8"))
    assert origins_file.load(run.search.origins) == origins
    assert starts(run, config_of(), (tried, other)) == [other]


def test_where_nothing_fits_one_line_says_why(tmp_path, elder):
    with pytest.raises(RunError, match=r"none of its best towers can be tried here: ensemble/0 \(.*max_params = 50\).*widen"):
        starts(begun(tmp_path, elder), config_of("space.max_params=50"))


def test_what_cannot_be_built_here_is_left_out(tmp_path, elder):
    def refuse(tower: Architecture) -> Cost:
        raise ArchitectureError(f"{tower}: looks ahead")

    with pytest.raises(RunError, match=r"ensemble/0 \(looks ahead\)"):
        warm_start.starts(begun(tmp_path, elder), config_of(), ("no", "yes"), refuse, ())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["features.bands=64"], r"its models hear otherwise \(features.bands = 40 there, 64 here\)"),
        (["features.kind=mfcc"], r"its models hear otherwise \(features.kind = 'log_mel' there, 'mfcc' here\)"),
    ],
)
def test_a_run_that_hears_otherwise_is_refused(settings, message, tmp_path, elder):
    with pytest.raises(RunError, match=message):
        warm_start.check(RunDir(tmp_path / "new"), config_of(*settings), elder.root)


def test_a_run_goes_on_with_what_it_was_begun_with(other, elder):
    config, run = config_of(), other
    with pytest.raises(RunError, match="was begun without; --run DIR"):
        warm_start.check(run, config, elder.root)
    origins_file.save(run.search.origins, origins_file.Origins(str(elder.root.resolve())))
    warm_start.check(run, config, elder.root)
    warm_start.check(run, config, None)
    with pytest.raises(RunError, match=r"was begun with .*elder; --run DIR"):
        warm_start.check(run, config, elder.root.parent)
    shutil.rmtree(elder.root)
    with pytest.raises(RunError, match="elder: holds no run"):
        warm_start.check(run, config, None)


def test_copied_weights_that_are_missing_are_named(other, elder):
    run = other
    run.search.complete.unlink()
    origins_file.save(run.search.origins, origins_file.Origins(str(elder.root.resolve())))
    donor = starts(run, config_of())[0].donor
    run.search.donor(donor).unlink()
    with pytest.raises(RunError, match=r"donors/0.h5: the weights that the search began with are missing"):
        warm_start.check(run, config_of(), None)


def test_no_run_and_the_run_itself_are_refused(tmp_path, elder):
    with pytest.raises(RunError, match="holds no run"):
        warm_start.check(RunDir(tmp_path / "new"), config_of(), tmp_path)
    (tmp_path / "copy").symlink_to(elder.root)
    with pytest.raises(RunError, match="is the run itself"):
        warm_start.check(RunDir(tmp_path / "copy"), config_of(), elder.root)


def test_local_search_draws_no_grafts_of_another_runs_towers():
    archive = Archive()
    for id_, tower in enumerate(("dense:units=8", "gru:units=4,layers=1")):
        archive.add(Trial(id_, Proposal(Architecture.parse(tower), None, f"warm search/{id_}", donor=id_), seed=id_))
        archive.add(completed(id_, 0.5 + 0.1 * id_))
    strategy = STRATEGIES["local_search"](initial=2)
    for seed in range(20):
        assert strategy.propose(archive, SPACE, np.random.default_rng(seed)).parent in (0, 1)


def test_a_warm_search_inherits_and_goes_on_without_being_told_again(causal_run, tiny_once, tmp_path, mpirun):
    run, before = RunDir(tmp_path / "run"), files(causal_run.root)
    causal = ["--set", "space.causal=true", "--run", str(run.root), "--set", "data.keywords=['mid', 'high']"]
    first = ["--warm-start", str(causal_run.root), "--set", "search.max_trials=1"]
    done = mpirun(1, "hpcnas.search", *tiny_once, *causal, *first)
    assert done.returncode == 0 and "warm start: 1 tower(s)" in done.output, done.output
    done = mpirun(2, "hpcnas.search", *tiny_once, *causal, "--resume", "--set", "search.max_trials=3")
    assert done.returncode == 0, done.output
    archive = archive_of(run.search.journal)
    warm = [trial.id for trial in archive.trials.values() if trial.proposal.is_warm]
    assert warm == [0] and archive.results[0].inherited > 0.5 * archive.results[0].cost.params
    assert len(archive.results) == 3 and files(causal_run.root) == before


def test_verify_looks_at_what_the_search_began_with(other, elder):
    run = other
    origins_file.save(run.search.origins, origins_file.Origins(str(elder.root.resolve())))
    donor = starts(run, config_of())[0].donor
    assert list(soundness.donors(ConfiguredRun.open(run.root))) == []
    run.search.donor(donor).write_bytes(run.search.donor(donor).read_bytes()[:-1])
    (finding,) = soundness.donors(ConfiguredRun.open(run.root))
    assert finding.is_damage and "donors/0.h5" in finding.what
