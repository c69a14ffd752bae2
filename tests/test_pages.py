"""What a reader of ``docs/`` types does what the page says, with smaller models and fewer epochs."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import layouts
import numpy as np
import pytest
import soundfile
from layouts import Clip

from hpcnas.data import audio
from hpcnas.store.run_dir import RunDir

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WORDS = {"low": "yes", "mid": "stop", "high": "table"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tones) -> Path:
    """A folder like that of hpcnas, with the recordings and runs that the pages speak of."""
    home = tmp_path_factory.mktemp("home")
    for name in ("jobs", "tools", "examples"):
        (home / name).symlink_to(ROOT / name)
    (home / ".venv").symlink_to(sys.prefix)
    low, noise = (soundfile.read(tones / name)[0] for name in ("low/s10_nohash_0.wav", "_background_noise_/white.wav"))
    soundfile.write(home / "recording.wav", np.concatenate([noise, low, noise]), audio.RATE)
    keywords(home / "corpus", tones)
    (home / "new-corpus").symlink_to("corpus")
    languages(home / "speech", tones)
    (home / "new-words").symlink_to(tones)
    as_others_keep_them(home, tones)
    (home / "new.toml").write_text('[data]\nname = "speech_commands"\npath = "corpus"\nkeywords = ["yes", "table"]\n')
    (home / "reverbdb").mkdir()
    for number in range(12):
        decay = np.random.default_rng(number).standard_normal(4000) * np.exp(-np.arange(4000) / 600)
        decay[0] = 8.0  # the direct sound
        soundfile.write(home / "reverbdb" / f"{number}.wav", 0.1 * decay, audio.RATE)
    for name in ("home", "librispeech", "radio", "musan"):
        (home / name).mkdir()
        for number in range(12):
            soundfile.write(home / name / f"{number}.wav", np.roll(noise, 997 * number), audio.RATE)
    (home / "radio.jsonl").write_text("\n".join(f'{{"audio_filepath": "radio/{n}.wav", "text": "rain"}}' for n in range(12)))
    for split, speakers in (("train", range(8)), ("dev", (8, 9)), ("test", (10, 11))):
        lines = [
            f'{{"audio_filepath": "{tones}/{w}/s{n:02d}_nohash_0.wav", "label": "{w}", "accent": "a{n % 2}", "gender": "f"}}'
            for w in WORDS
            for n in speakers
        ]
        (home / f"{split}.jsonl").write_text("\n".join(lines))
    return home


def as_others_keep_them(home: Path, tones: Path) -> None:
    """The corpus of the lists in other programs' layouts."""
    for split, speakers in (("train", range(8)), ("dev", (8, 9)), ("test", (10, 11))):
        clips = [Clip(tones / w / f"s{n:02d}_nohash_0.wav", WORDS[w], f"s{n:02d}") for w in WORDS for n in speakers]
        layouts.kaldi(home / "data" / split, clips)
        layouts.cuts(home / "manifests" / f"words_cuts_{split}.jsonl.gz", clips)
        layouts.shards(home / "shards", clips, split)
        if find_spec("pyarrow"):
            layouts.arrow(home / "dataset" / split, clips)


def keywords(corpus: Path, tones: Path) -> None:
    shutil.copytree(tones, corpus)
    for tone, word in WORDS.items():
        (corpus / tone).rename(corpus / word)
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (line.split("/") for line in (corpus / name).read_text().splitlines())
        (corpus / name).write_text("\n".join(f"{WORDS.get(word, word)}/{file}" for word, file in lines))


def languages(corpus: Path, tones: Path) -> None:
    for language, tone in (("de", "low"), ("fr", "high")):
        (corpus / language).mkdir(parents=True)
        for number in range(60):
            samples, rate = soundfile.read(tones / tone / f"s{number % 12:02d}_nohash_0.wav")
            soundfile.write(corpus / language / f"video{number}_001.flac", np.tile(samples, 2), rate)


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HPCNAS_CACHE": str(home / "cache"), "COLUMNS": "200"}


def shell(script: str, cwd: Path, limit: int = 240, **more: str) -> tuple[int, str]:
    """Status and output of a bash script that ends at its first failure."""
    done = subprocess.run(
        ["timeout", "-k", "5", str(limit), "bash", "-euo", "pipefail", "-c", script], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**environment(cwd), **more},
    )  # fmt: skip
    return done.returncode, done.stdout


def smaller(script: str, settings: list[str]) -> str:
    """The same commands, with ``settings`` for every search where the page does not say otherwise, and few steps to adapt."""
    script = re.sub(r"(hpcnas\.search(?: \S+\.toml)?)", lambda found: f"{found[1]} {shlex.join(settings)}", script)
    return script.replace("hpcnas.adapt ", "hpcnas.adapt --set adaptation.steps=40 ")


def without_data(settings: list[str]) -> list[str]:
    pairs = list(zip(settings[::2], settings[1::2]))
    return [part for pair in pairs if not pair[1].startswith("data.") for part in pair]


@pytest.fixture(scope="module")
def first_search(home, tiny_once) -> RunDir:
    """What `make search` leaves behind."""
    arguments = ["-o", "setup", "search", f"VENV={sys.prefix}", f"RUN={home}/runs/default", "NP=2"]
    status, output = shell(f"make {shlex.join(arguments)} ARGS={shlex.quote(shlex.join(tiny_once))}", ROOT)
    assert status == 0 and "page: " in output, output
    return RunDir(home / "runs" / "default")


@pytest.mark.parametrize("number", range(len(blocks("first-search.md", "bash"))))
def test_a_first_search(number, home, first_search, tiny_once):
    status, output = shell(smaller(blocks("first-search.md", "bash")[number], tiny_once), home)
    assert status == 0, output


@pytest.mark.parametrize("number", range(len(blocks("own-data.md", "bash"))))
def test_own_recordings(number, home, tiny_once):
    if "data.name=huggingface" in blocks("own-data.md", "bash")[number]:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'hpcnas[parquet]'")
    small = ["--set", "search.max_trials=3", *without_data(tiny_once), "--set", "search.suggestions=[]"]
    script = smaller(blocks("own-data.md", "bash")[number], small).replace("-np 3", "-np 2")
    status, output = shell(script, home)
    assert status == 0 and "WARNING" not in output, output


def test_installing(home, tiny_once):
    status, output = shell(smaller("".join(blocks("install.md", "bash")), tiny_once), home)
    assert status == 0 and "A search would run here." in output, output


@pytest.mark.parametrize("number", range(len(blocks("cluster.md", "sh"))))
def test_job_scripts_of_other_batch_systems(number, home, tiny_once, tmp_path):
    for name in ("jobs", "tools", ".venv"):
        (tmp_path / name).symlink_to((home / name).resolve())
    status, output = shell(smaller(blocks("cluster.md", "sh")[number], tiny_once), tmp_path, PBS_O_WORKDIR=str(tmp_path))
    assert status == 0 and "batch: hpcnas.search is complete" in output, output
    assert RunDir(tmp_path / "runs" / "kws").search.complete.exists()


def test_the_doctor_of_the_page_about_clusters_is_well(home):
    (line,) = [line for block in blocks("cluster.md", "bash") for line in block.splitlines() if "doctor" in line]
    assert shell(line, home)[0] == 0


SESSIONS = [
    session for block in blocks("faq.md", "console") for session in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)
]


@pytest.fixture(scope="module")
def trouble(home, tones, finished_run):
    """What the errors are about."""
    place = home / "trouble"
    place.mkdir()
    for name in ("kws", "busy"):
        shutil.copytree(finished_run.root, place / "runs" / name)
    for name in ("corpus", "damaged", "mixed", "misspelt"):
        keywords(place / name, tones)
        lists = {path: path.read_text() for path in (place / name).glob("*_list.txt")}
        for known, word in (("yes", "no"), ("stop", "go")):
            shutil.copytree(place / name / known, place / name / word)
            for path, lines in lists.items():
                more = [line.replace(known, word, 1) for line in lines.splitlines() if line.startswith(known)]
                path.write_text("\n".join([path.read_text(), *more]))
    (place / "jobs").symlink_to(ROOT / "jobs")
    (place / "damaged" / "yes" / "s00_nohash_0.wav").write_bytes(b"RIFF")
    with open(place / "misspelt" / "testing_list.txt", "a") as file:
        file.write("\nyes/s99_nohash_0.wav\n")
    with open(place / "mixed" / "testing_list.txt", "a") as file:
        file.write("\n" + (place / "mixed" / "validation_list.txt").read_text())
    RunDir(place / "runs" / "busy").search.complete.unlink()
    with open(place / "runs" / "busy" / "journal.jsonl", "a") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        yield place


@pytest.mark.parametrize(("command", "output"), SESSIONS, ids=[command[-40:] for command, _ in SESSIONS])
def test_errors_say_what_the_page_says(command, output, trouble):
    status, said = shell(command, trouble)
    assert status not in (0, 124)
    said = re.sub(r".* INFO .*\n", "", said)
    pattern = ".*".join(re.escape(part) for part in output.strip().split("..."))
    assert re.fullmatch(pattern, re.sub(r"-{20,}\n", "", said).strip(), re.S), said
    if command.startswith("python"):
        assert status == 2 and (len(said.splitlines()) == 1 or output.startswith("...")), said
