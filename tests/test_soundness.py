"""Damage of every kind is found, each by the check that is for it, and a sound run is called so."""

from __future__ import annotations

import inspect
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import completed, made_run, trial, write

from hpcnas.analysis import soundness, stage_checks
from hpcnas.analysis.soundness import CHECKS, repair, verify
from hpcnas.analysis.stage_checks import OF_FILES, OF_JOURNAL, files_of
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.archive import Archive
from hpcnas.core.errors import HpcnasError, RunError
from hpcnas.core.trial import Result, TrialState
from hpcnas.store import archive_file, ensemble_file, weights
from hpcnas.store.journal import Journal, Record, replay, spell
from hpcnas.store.sealed import BLOCK, reading, writing


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return made_run(tmp_path_factory.mktemp("sound") / "run").root


@pytest.fixture
def run(sound, tmp_path) -> ConfiguredRun:
    shutil.copytree(sound, tmp_path / "run")
    return ConfiguredRun.open(tmp_path / "run")


def damage(run: ConfiguredRun) -> list[str]:
    return [f"{one.file.relative_to(run.dir.root)}: {one.what}" for one in verify(run) if one.is_damage]


def test_a_sound_run_has_no_findings(run):
    assert verify(run) == []


def journalled(run: ConfiguredRun, event: object, elapsed: float = 200.0) -> None:
    write(Journal(run.dir.search.journal), event, elapsed)


def journalled_as_it_was_once(run: ConfiguredRun, result: Result) -> None:
    """With a score that is not finite in a trial that is complete, and without a checksum."""
    line = spell(Record(200.0, result)).rpartition(b', "crc32"')[0] + b"}\n"
    line = line.replace(b'"score":0.5', b'"score":null').replace(b"[0.25,0.5]", b"[0.25,null]")
    with open(run.dir.search.journal, "ab") as file:
        file.write(line)


def written(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def other_logits(run: ConfiguredRun) -> None:
    stored = ensemble_file.load(run.dir.ensemble_file)
    stored.logits["test"][0, 0] += 0.1
    ensemble_file.save(run.dir.ensemble_file, stored)


FAULTS: dict[Callable, tuple[Callable[[ConfiguredRun], None], str]] = {
    stage_checks.lines_of_the_journal: (
        lambda run: written(run.dir.search.journal, run.dir.search.journal.read_bytes() + b"x\n"),
        "line 25: damaged",
    ),
    stage_checks.order_of_time: (lambda run: journalled(run, trial(12), 1.0), "goes back in time"),
    stage_checks.trials_of_results: (lambda run: journalled(run, completed(99, 0.5)), "result of trial 99, which was never"),
    stage_checks.origins_of_trials: (
        lambda run: journalled(run, trial(12, parent=99)),
        "trial 12 comes from trial 99, which was never handed out",
    ),
    stage_checks.scores_of_results: (
        lambda run: (journalled(run, trial(12)), journalled_as_it_was_once(run, completed(12, 0.5))),
        "trial 12 has a score or a loss that is not finite",
    ),
    stage_checks.seals_of_weights: (
        lambda run: weights.save(run.dir.search.weights(5), trial(5), {"a": np.full(2, np.inf)}, {}),
        "arrays/a is not finite",
    ),
    stage_checks.weights_that_are_kept: (lambda run: run.dir.search.weights(5).unlink(), "weights of trial 5 are missing"),
    stage_checks.checkpoints: (lambda run: written(run.dir.search.checkpoint(12), b"no zip"), "cannot be read as a checkpoint"),
    stage_checks.mark_of_completeness: (lambda run: journalled(run, trial(12)), "says complete, but trials have no result: 12"),
    soundness.texts: (lambda run: written(run.dir.model_card, b"{"), "cannot be read"),
    soundness.stages: (
        lambda run: archive_file.save(run.dir.archive, Archive([trial(0), completed(0, 0.1)])),
        "differs from the journal",
    ),
    soundness.ensemble: (other_logits, "its test logits are not the mean of its members'"),
    soundness.donors: (lambda run: written(run.dir.search.origins, b"["), "cannot be read"),
    soundness.unfinished: (lambda run: written(run.dir.root / ".a.part", b""), "was left by a kill"),
}


@pytest.mark.parametrize("check", FAULTS, ids=lambda check: check.__name__)
def test_every_check_finds_its_own_fault_and_verify_hears_of_it(run, check):
    fault, message = FAULTS[check]
    looked_at = (lambda: run) if check in CHECKS else (lambda: files_of(run.dir.search, 50))
    assert list(check(looked_at())) == []
    fault(run)
    assert any(message in finding.what for finding in check(looked_at())), list(check(looked_at()))
    assert any(message in finding.what for finding in verify(run))


def test_every_check_stands_in_a_table_and_has_a_fault():
    checks = {
        function
        for module in (soundness, stage_checks)
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and function.__annotations__["return"] == "Iterator[Finding]"
    }
    assert checks - {stage_checks.check} == {*CHECKS, *OF_JOURNAL, *OF_FILES} == FAULTS.keys()


def test_a_run_whose_best_trial_once_had_no_finite_score_is_read_as_if_that_had_failed(run):
    before = Archive(record.event for record in run.records()).best(3)
    journalled(run, trial(12))
    journalled_as_it_was_once(run, completed(12, 0.5))
    after = Archive(record.event for record in ConfiguredRun.open(run.dir.root).records())
    assert after.best(3) == before and after.results[12].state is TrialState.FAILED and not after.running
    repair(run)
    assert damage(run) == ["journal.jsonl: trial 12 has a score or a loss that is not finite"]


def test_members_come_from_trials_of_the_search_and_from_nowhere_else(run):
    journal = Journal(run.dir.ensemble.journal)
    journal.append(replace(trial(2), proposal=replace(trial(2).proposal, parent=5)), 200.0)
    journal.commit()
    assert not any("comes from" in line for line in damage(run))
    journal.append(replace(trial(3), proposal=replace(trial(3).proposal, parent=55)), 201.0)
    journal.append(replace(trial(4), proposal=replace(trial(4).proposal, team=(3, 9))), 202.0)
    journal.commit()
    found = [line.partition(": ")[2] for line in damage(run) if "comes from" in line]
    unknown = "which was never handed out"
    assert found == [f"trial 3 comes from trial 55, {unknown}", f"trial 4 comes from trial 9, {unknown}"]


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


SEALED = ("archive.h5", "journal.jsonl", "weights/000/000005.h5", "ensemble/member-0.h5", "ensemble/ensemble.h5")


@pytest.mark.parametrize("name", SEALED)
def test_every_flipped_bit_and_every_cut_is_found(run, name):
    path, rng = run.dir.root / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(12):
        flip(path, rng)
        assert any(name in line for line in damage(run))
        path.write_bytes(whole[: rng.randrange(len(whole))])
        assert damage(run)
        path.write_bytes(whole)
    assert verify(run) == []


@pytest.mark.parametrize("name", ["environment.json", "model_card.json"])
def test_what_cannot_be_parsed_is_found(run, name):
    (run.dir.root / name).write_text("{")
    assert any(name in line for line in damage(run))


def test_a_cut_off_configuration_is_one_clear_line(run):
    run.dir.config.write_text("[search\n")
    with pytest.raises(RunError, match=r"config.toml: is not TOML: .*line 1"):
        ConfiguredRun.open(run.dir.root)


def test_damaged_lines_are_named_and_the_rest_is_checked(run):
    lines = run.dir.search.journal.read_bytes().splitlines(keepends=True)
    lines[3] = b"not json\n"
    lines[7] = lines[7].replace(b'"seconds":9', b'"seconds":8')
    run.dir.search.journal.write_bytes(b"".join(lines))
    found = damage(run)
    assert any("line 4: damaged" in line for line in found)
    assert any("line 8: damaged (its checksum does not match)" in line for line in found)
    with pytest.raises(RunError, match="line 4"):
        repair(run)


def test_a_line_that_vanished_is_found(run):
    lines = run.dir.search.journal.read_bytes().splitlines(keepends=True)
    for gone, message in ((0, "a result of trial 0, which was never handed out"), (9, "differs from the journal: trial 4")):
        run.dir.search.journal.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        assert any(message in line for line in damage(run)), damage(run)


def test_weights_and_results_must_belong_together(run):
    stage = run.dir.search
    stage.weights(5).unlink()
    stage.weights(6).rename(stage.weights(1))
    weights.save(stage.weights(7), trial(7, "lstm:units=3"), {"a": np.zeros(2)}, {})
    weights.save(stage.weights(77), trial(77), {"a": np.zeros(2)}, {})
    found = damage(run)
    for message in (
        "000005.h5: weights of trial 5 are missing",
        "000006.h5: weights of trial 6 are missing",
        "000001.h5: has the weights of trial 6",
        "000007.h5: is of lstm:units=3, not of what",
        "000077.h5: weights of a trial that the journal does not know",
    ):
        assert any(message in line for line in found), (message, found)
    assert len(found) == 5


def test_weights_that_were_given_up_are_not_missed(run):
    run.dir.search.weights(5).unlink()
    run.dir.pruned.write_text("5\n")
    assert verify(run) == []


def test_an_archive_that_says_something_else_is_found_and_repaired(run):
    columns = archive_file.load(run.dir.archive)
    with writing(run.dir.archive) as file:
        file.attrs["format"] = archive_file.FORMAT
        for name, values in columns.items():
            changed = np.where(columns["id"] == 4, 0.999, values) if name == "score" else values
            file.create_dataset(f"trials/{name}", data=changed, dtype=h5py.string_dtype() if values.dtype == object else None)
    assert damage(run) == ["archive.h5: differs from the journal: trial 4 has another score"]
    before = {path: path.read_bytes() for path in run.dir.root.rglob("*") if path.is_file() and path != run.dir.archive}
    repair(run)
    assert verify(run) == [] and all(path.read_bytes() == data for path, data in before.items())


def test_a_run_that_is_being_written_is_sound(run):
    run.dir.search.complete.unlink()
    journal = Journal(run.dir.search.journal)
    write(journal, trial(12), 200.0)
    assert damage(run) == [] and [one.what for one in verify(run)] == ["is older than the journal"]
    weights.save(run.dir.search.weights(12), trial(12), {"a": np.zeros(2)}, {})
    assert damage(run) == [] and any("weights without a result" in one.what for one in verify(run))
    write(journal, completed(12, 0.7), 210.0)
    with open(run.dir.search.journal, "ab") as file:
        file.write(b'{"elapsed": 3')
    assert damage(run) == [] and any("13 bytes behind the last whole line" in one.what for one in verify(run))
    with pytest.raises(RunError, match="a search is writing this run"):
        repair(run)


def test_other_things_that_kills_leave_are_told_apart(run):
    (run.dir.root / ".archive.h5.part").write_bytes(b"half")
    run.dir.search.checkpoint(4).parent.mkdir()
    run.dir.search.checkpoint(4).write_bytes(b"no zip file")
    found = verify(run)
    assert [(one.file.name, one.is_damage) for one in found] == [
        ("000004.pt", False), ("000004.pt", True), (".archive.h5.part", False),
    ]  # fmt: skip


def test_a_complete_run_has_no_running_trials(run):
    write(Journal(run.dir.search.journal), trial(12), 200.0)
    assert any("complete: says complete, but trials have no result: 12" in line for line in damage(run))


def test_a_sealed_file_is_plain_hdf5_and_an_old_one_without_a_seal_opens(tmp_path):
    path = tmp_path / "a.h5"
    with writing(path) as file:
        file["x"] = 3
    with h5py.File(path) as file:
        assert file["x"][()] == 3 and file.userblock_size == BLOCK
    old = tmp_path / "old.h5"
    with h5py.File(old, "w") as file:
        file["x"] = 3
    with reading(old, "a test") as file:
        assert file["x"][()] == 3
    for content in (b"", b"x" * 100, path.read_bytes()[:-1]):
        path.write_bytes(content)
        with (
            pytest.raises(RunError, match=r"a.h5: cannot be read as a test .*; try again"),
            reading(path, "a test", "try again"),
        ):
            pass


def test_lines_from_before_there_were_checksums_are_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(Journal(path), trial(0), 1.0)
    line = path.read_bytes()
    path.write_bytes(line.rpartition(b', "crc32"')[0] + b"}\n" + line)
    assert [r.event for r in replay(path)] == [trial(0), trial(0)]
    path.write_bytes(line.replace(b'"seed":0', b'"seed":1'))
    with pytest.raises(HpcnasError, match="line 1: damaged"):
        replay(path)
