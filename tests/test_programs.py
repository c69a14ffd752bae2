"""The programs as a user starts them, under real mpiruns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hpcnas import evaluate, search
from hpcnas.core.archive import Archive
from hpcnas.core.trial import Result, Trial
from hpcnas.runtime import launch
from hpcnas.store import ensemble_file, weights
from hpcnas.store.journal import replay
from hpcnas.store.run_dir import RunDir


@pytest.fixture
def refused(monkeypatch, capsys):
    """What a search on one rank says that does not begin: in this process, which it would end."""
    monkeypatch.setattr(launch, "_end_all", lambda comm, status: sys.exit(status))

    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            search.main(arguments)
        said = "".join(capsys.readouterr())
        assert end.value.code == 2 and "Traceback" not in said, said
        return said

    return refused


def results(run: Path) -> dict[int, Result]:
    return {r.event.trial: r.event for r in replay(run / "journal.jsonl") if isinstance(r.event, Result)}


def wait_for_results(process: subprocess.Popen, run: Path, number: int) -> None:
    deadline = time.monotonic() + 150
    while not (run.exists() and len(results(run)) >= number):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


def test_search_ensemble_and_report_with_two_groups_of_two_and_an_idle_rank(mpirun, tiny, tmp_path):
    run = tmp_path / "run"
    scratch = ["--set", f"cluster.scratch={tmp_path / 'scratch'}"]
    done = mpirun(6, "hpcnas.search", *tiny, "--set", "search.group_size=2", *scratch, "--run", str(run))
    assert done.returncode == 0, done.output
    assert "rank(s) 5 fill no group and stay idle" in done.output
    assert len(list((tmp_path / "scratch").iterdir())) == 1, "features are read from the node's own disk"
    assert len(results(run)) == 4 and (run / "complete").exists() and (run / "archive.h5").exists()
    done = mpirun(3, "hpcnas.ensemble", str(run), "--set", "search.group_size=1")
    assert done.returncode == 0 and "ensemble of 2" in done.output, done.output
    assert (run / "ensemble" / "ensemble.h5").exists() and (run / "ensemble" / "member-0.h5").exists()
    done = mpirun(1, "hpcnas.report", str(run))
    assert done.returncode == 0 and "Best trials" in done.output, done.output
    page = (run / "report" / "index.html").read_text()
    assert page.count("<svg") == 6 and "http://" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")


def test_models_are_evaluated_and_find_keywords_in_long_audio(mpirun, tones, tiny, tmp_path):
    run = tmp_path / "run"
    longer = ["--set", "training.epochs=8", "--set", "search.max_trials=2"]
    assert mpirun(1, "hpcnas.search", *tiny, *longer, "--run", str(run)).returncode == 0
    done = mpirun(1, "hpcnas.evaluate", str(run), "--model", "best", "--against", "0")
    assert (
        done.returncode == 0
        and "misses at 1 false alarm an hour: not told, 3 h without keywords would be needed" in done.output
        and "p = " in done.output
    ), done.output
    assert "<svg" in (run / "report" / "best-test.html").read_text()
    values = json.loads(mpirun(1, "hpcnas.evaluate", str(run), "--model", "best", "--data", str(tones), "--json").output)
    assert values["examples"] == 9 and 0 <= values["figures"]["accuracy"]["value"] <= 1
    low, quiet = (soundfile.read(tones / name)[0] for name in ("low/s10_nohash_0.wav", "_background_noise_/white.wav"))
    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([quiet[:32000], low, quiet[:32000]]), 16000)
    done = mpirun(1, "hpcnas.detect", str(run), str(long), "--model", "best", "--json", "--threshold", "0.0")
    heard = [json.loads(line) for line in done.output.splitlines()]
    best = max((h for h in heard if h["keyword"] == "low"), key=lambda h: h["score"])
    assert 1.4 < best["time_s"] < 3.1, done.output
    for model, message in (("ensemble", "has no ensemble"), ("99", 'has no model "99"')):
        done = mpirun(1, "hpcnas.detect", str(run), str(long), "--model", model)
        assert done.returncode == 2 and message in done.output, done.output


def test_evaluation_of_other_corpora(mpirun, tones, tiny, tmp_path, capsys):
    """One class alone, empty folders, and names with characters that tables and plots give a meaning."""
    run, odd = tmp_path / "run", "[b] <i> $x^ 語"
    for split in ("train", "validation", "test"):
        for name, tone in (("low", "low"), (odd, "high")):
            (tmp_path / "odd" / split / name).mkdir(parents=True)
            for speaker in range(2):
                take = 2 * ("train", "validation", "test").index(split) + speaker
                shutil.copy(tones / tone / f"s{take:02d}_nohash_0.wav", tmp_path / "odd" / split / name / f"{split}{take}.wav")
    folders = [*tiny, "--set", "data.name=language_folders", "--set", f"data.path={tmp_path / 'odd'}"]
    done = mpirun(1, "hpcnas.search", *folders, "--set", "search.max_trials=1", "--run", str(run))
    assert done.returncode == 0, done.output
    of_best = (str(run), "--model", "best")
    evaluate.main(of_best)
    output = capsys.readouterr().out
    assert "[b] <i> $x^" in output and "Cavg" in output, output
    page = (run / "report" / "best-test.html").read_text()
    assert "[b] &lt;i&gt; $x^" in page and page.count("<svg") == 3
    (tmp_path / "one" / "low").mkdir(parents=True)
    shutil.copy(tones / "low" / "s10_nohash_0.wav", tmp_path / "one" / "low")
    evaluate.main([*of_best, "--data", str(tmp_path / "one"), "--set", "data.all_is_test=true"])
    output = capsys.readouterr().out
    assert "one class alone" in output and "Cavg" not in output, output
    (tmp_path / "empty").mkdir()
    for name in ("language_folders", "builtin_lid", "builtin_kws", "speech_commands"):
        with pytest.raises(SystemExit, match="2"):
            evaluate.main([*of_best, "--data", str(tmp_path / "empty"), "--set", f"data.name={name}"])
        assert f"{tmp_path / 'empty'}: " in capsys.readouterr().err
    assert not list((tmp_path / "empty").iterdir()), "nothing is synthesised into a folder that the user named"


@pytest.mark.parametrize("combiner", ["residual", "greedy"])
def test_ensembles_that_the_search_looked_for_and_a_student_of_theirs(mpirun, tiny, tmp_path, combiner):
    run = tmp_path / "run"
    rounds = ["--set", "combiner.trials_per_member=2" if combiner == "residual" else "search.score_examples=7"]
    done = mpirun(3, "hpcnas.search", *tiny, "--set", f"combiner.name={combiner}", *rounds, "--run", str(run))
    assert done.returncode == 0, done.output
    done = mpirun(3, "hpcnas.ensemble", str(run))
    assert done.returncode == 0 and "ensemble of " in done.output, done.output
    if combiner == "residual":
        teams = [r.event.proposal.team for r in replay(run / "ensemble" / "journal.jsonl") if isinstance(r.event, Trial)]
        searched = Archive(r.event for r in replay(run / "journal.jsonl"))
        (best,) = searched.best()
        expected = [tuple(range(place)) for place in range(1 + len(best.proposal.team))]
        assert teams == [*expected, ()], "the best trial's team in turn, and the baseline"
    else:
        searched, of = Archive(r.event for r in replay(run / "journal.jsonl")), RunDir(run)
        assert len(weights.load_logits(of.search.weights(searched.ranking[0].trial), "validation")) == 7
        assert len(ensemble_file.load(of.ensemble_file).labels["validation"]) > 7
        done = mpirun(1, str(Path(__file__).parents[1] / "tools" / "verify.py"), str(run))
        assert done.returncode == 0, done.output
    done = mpirun(3, "hpcnas.distil", str(run), "--set", "distillation.epochs=2", "--set", "distillation.student=dense:units=8")
    assert done.returncode == 0 and "student: test accuracy" in done.output and "control: test" in done.output, done.output
    done = mpirun(1, "hpcnas.evaluate", str(run), "--model", "student", "--against", "control", "--json")
    assert done.returncode == 0 and json.loads(done.output)["against"] == "control", done.output
    done = mpirun(1, "hpcnas.report", str(run))
    assert done.returncode == 0 and "student, labels alone" in done.output, done.output


def test_paused_trials_go_on_and_settings_are_tuned(mpirun, tiny, tmp_path):
    run = tmp_path / "run"
    asha = ["--set", "stopping.name=asha", "--set", "stopping.first=1", "--set", "training.epochs=3"]
    # Of few validation examples many scores are equal, and the older of two that are has the first place.
    asha += ["--set", "tuning.name=tpe", "--set", "search.rank_by=objective"]
    done = mpirun(3, "hpcnas.search", *tiny, *asha, "--set", "search.max_trials=9", "--run", str(run))
    assert done.returncode == 0, done.output
    events = [r.event for r in replay(run / "journal.jsonl")]
    reported = [e.trial for e in events if isinstance(e, Result)]
    assert len(set(reported)) == 9 and len(reported) > 9, "some were paused and went on"
    assert {len(r.curve) for r in results(run).values()} == {1, 3}
    assert all(dict(e.proposal.settings)["learning_rate"] > 0 for e in events if isinstance(e, Trial))


def test_one_seed_gives_the_same_trials_and_scores_twice(mpirun, tiny, tmp_path):
    scores = []
    for name in ("one", "two"):
        done = mpirun(1, "hpcnas.search", *tiny, "--run", str(tmp_path / name))
        assert done.returncode == 0, done.output
        events = [r.event for r in replay(tmp_path / name / "journal.jsonl")]
        trials = [str(e.architecture) for e in events if isinstance(e, Trial)]
        scores.append((trials, [(e.score, e.loss) for e in events if isinstance(e, Result)]))
    assert scores[0] == scores[1]


def test_a_killed_search_loses_no_result_and_goes_on_with_another_number_of_ranks(mpirun, mpistart, tiny, tmp_path):
    run = tmp_path / "run"
    command = ("hpcnas.search", *tiny, "--set", "search.max_trials=30", "--run", str(run), "--resume")
    process = mpistart(3, *command)
    wait_for_results(process, run, 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = results(run)
    assert before
    time.sleep(3)  # orphaned ranks notice the loss of their mpirun
    done = mpirun(1, *command)
    assert done.returncode == 0, done.output
    after = results(run)
    assert len(after) == 30 and all(after[i] == before[i] for i in before)


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGINT, signal.SIGTERM])
def test_a_search_asked_to_end_suspends_and_goes_on(mpirun, mpistart, tiny, tmp_path, number):
    run = tmp_path / "run"
    command = ("hpcnas.search", *tiny, "--set", "search.max_trials=30", "--run", str(run), "--resume")
    process = mpistart(3, *command)
    wait_for_results(process, run, 3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" not in output, output
    # After INT and TERM Open MPI 5 gives ranks a quarter of a second to end by themselves, and no output is passed on.
    assert number != signal.SIGUSR2 or "suspended with" in (run / "logs" / "rank-000.log").read_text()
    before = results(run)
    assert 3 <= len(before) < 30
    time.sleep(1)
    assert mpirun(1, *command).returncode == 0
    after = results(run)
    assert len(after) == 30 and all(after[i] == before[i] for i in before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml: no such configuration file"),
        (["--set", "training.epoch=2"], 'training.epoch: unknown key; did you mean "epochs"?'),
        (["--set", 'space.blocks=["svdff"]'], 'space.blocks[0]: unknown block "svdff"'),
        (["--set", "training.epochs=0"], "training.epochs = 0: must be at least 1"),
        (["--set", "data.path=/nowhere"], "/nowhere: no such folder"),
        (["--set", "search.group_size=2"], "search.group_size = 2 needs at least 3 ranks"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(refused, tiny, tmp_path, arguments, message):
    said = refused(*tiny, "--run", str(tmp_path / "run"), *arguments)
    assert message in said and said.count("Error: ") == 1, said


@pytest.mark.parametrize(("arguments", "message"), [(["--set", "training.epochs=0"], "ConfigError"), (["--epochs"], "error:")])
def test_bad_input_ends_all_ranks(mpirun, tiny, tmp_path, arguments, message):
    done = mpirun(2, "hpcnas.search", *tiny, "--run", str(tmp_path / "run"), *arguments)
    assert done.returncode == 2 and done.output.count(message) == 1, done.output


def test_weights_that_vanish_end_the_job_instead_of_hanging_it(mpirun, tiny, tmp_path):
    run = tmp_path / "run"
    assert mpirun(1, "hpcnas.search", *tiny, "--set", "search.max_trials=2", "--run", str(run)).returncode == 0
    for path in (run / "weights" / "000").iterdir():
        path.write_bytes(b"damaged")
    done = mpirun(
        5, "hpcnas.search", "--set", "search.max_trials=4", "--set", "search.group_size=2", "--run", str(run), "--resume"
    )
    assert done.returncode not in (0, 124), done.output
    assert "cannot be read as weights" in done.output


def test_a_run_that_never_began_may_begin_otherwise_and_is_left_alone_once_it_exists(refused, mpirun, tiny, tmp_path):
    run = [*tiny, "--run", str(tmp_path / "run")]
    refused(*run, "--set", "data.path=/nowhere")
    assert mpirun(1, "hpcnas.search", *run).returncode == 0
    assert "--resume goes on with it" in refused(*run)
    assert "belongs to another configuration" in refused(*run, "--resume", "--set", "seed=5")


def test_a_search_that_found_nothing_says_so(mpirun, tiny, tmp_path):
    done = mpirun(2, "hpcnas.search", *tiny, "--run", str(tmp_path / "run"), "--set", "training.learning_rate=1e30")
    assert done.returncode == 2 and "none of 4 trials has a score; trial 0: loss not finite" in done.output, done.output


def test_a_run_goes_on_with_its_own_corpus_and_takes_new_data_when_told_to(mpirun, causal_run, tones, tmp_path):
    run, corpus = shutil.copytree(causal_run.root, tmp_path / "run"), shutil.copytree(tones, tmp_path / "moved")
    command = ["hpcnas.search", "--run", str(run), "--resume", "--set", f"data.path={corpus}", "--set"]
    assert mpirun(1, *command, "search.max_trials=3").returncode == 0, "the same corpus in another place"
    shutil.copy(corpus / "low" / "s00_nohash_0.wav", corpus / "low" / "s20_nohash_0.wav")
    before = (run / "model_card.json").read_bytes()
    done = mpirun(2, *command, "search.max_trials=4")
    assert done.returncode == 2 and done.output.count("train: 1 recording more (low/s20_nohash_0.wav)") == 1, done.output
    assert "Traceback" not in done.output and (run / "model_card.json").read_bytes() == before and len(results(run)) == 3
    done = mpirun(1, *command, "search.max_trials=4", "--accept-new-data")
    assert done.returncode == 0 and "new data accepted" in done.output and len(results(run)) == 4, done.output
    assert (run / "model_card.json").read_bytes() == before


def test_another_mpi_in_the_process_than_mpi4py_s_is_refused(tmp_path):
    other = tmp_path / "libmpi.so.12"
    subprocess.run(["cc", "-shared", "-x", "c", os.devnull, "-o", other], check=True)
    search = f"from hpcnas.search import main; main(['--run', {str(tmp_path / 'run')!r}])"
    program = f"import ctypes; ctypes.CDLL({str(other)!r}); {search}"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "mpi4py and Horovod use different MPIs" in done.stderr and str(other) in done.stderr


def test_a_file_that_is_no_audio_ends_all_ranks_with_its_name(mpirun, tones, tiny, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(tones, corpus)
    broken = corpus / "low" / "s03_nohash_0.wav"
    broken.write_bytes(b"no audio")
    done = mpirun(2, "hpcnas.search", *tiny, "--set", f"data.path={corpus}", "--run", str(tmp_path / "run"))
    assert done.returncode == 2 and str(broken) in done.output and "Traceback" not in done.output, done.output


def test_a_full_disk_ends_the_job_with_one_line_and_loses_nothing(mpirun, tiny, tmp_path):
    (tmp_path / "disk").mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", tmp_path / "disk"]).returncode:
        pytest.skip("needs a small disk: root, and a system that lets it mount one")
    run = tmp_path / "disk" / "run"
    try:
        done = mpirun(3, "hpcnas.search", *tiny, "--set", "search.max_trials=300", "--run", str(run))
        assert done.returncode not in (0, 124), done.output
        assert "No space left on device" in done.output and "Traceback" not in done.output, done.output
        kept = results(run)
        assert kept and all((run / "weights" / "000" / f"{id_:06d}.h5").exists() for id_ in kept)
    finally:
        subprocess.run(["umount", "-l", tmp_path / "disk"])


def test_a_run_directory_that_vanishes_ends_the_job(mpistart, tiny, tmp_path):
    run = tmp_path / "run"
    process = mpistart(3, "hpcnas.search", *tiny, "--set", "search.max_trials=300", "--run", str(run))
    wait_for_results(process, run, 2)
    shutil.move(run, tmp_path / "elsewhere")
    output, _ = process.communicate(timeout=60)
    # By whichever rank misses it first.
    assert process.returncode not in (0, 124) and f"RunError: {run}" in output and "Traceback" not in output, output


def test_a_run_directory_that_cannot_be_written_is_named(mpirun, tiny, tmp_path):
    (tmp_path / "file").touch()
    done = mpirun(2, "hpcnas.search", *tiny, "--run", str(tmp_path / "file" / "run"))
    assert done.returncode == 2 and str(tmp_path / "file" / "run") in done.output, done.output
    assert "Traceback" not in done.output, done.output
