"""What noise and rooms in training are worth: a published model, trained on a corpus with and without, tried under conditions.

    tools/with_env.sh .venv python benchmarks/conditions.py benchmarks/arsc12.toml --work FOLDER [--model TC-ResNet8]
        [--seeds 3] [--set data.path=CORPUS ...]

Noise is made: coloured, half of it swelling and fading three times a second as speech does, 48 recordings for training and 16
others for the test. Rooms are simulated, 60 for training and 60 others for the test. Prints a Markdown table of test accuracy,
mean over seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from hpcnas.data import rooms
from hpcnas.data.audio import RATE
from hpcnas.data.corpus import DataConfig

SECONDS = 20
TRAINED = {"as recorded": [], "in noise and rooms": ["noise", "rooms"]}


def write_noise(folder: Path, count: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    length = SECONDS * RATE
    hertz, time_s = np.fft.rfftfreq(length, 1 / RATE).clip(40), np.arange(length) / RATE
    for number in range(count):
        spectrum = np.fft.rfft(rng.standard_normal(length)) * hertz ** -rng.uniform(0, 1.2)
        spectrum *= 1 + 3 * np.exp(-((np.log(hertz / rng.uniform(200, 4000)) / 0.5) ** 2))
        noise = np.fft.irfft(spectrum, length)
        if number % 2:
            noise *= 1.1 + np.sin(2 * np.pi * rng.uniform(2, 4) * time_s)
        soundfile.write(folder / f"{number:02d}.wav", 0.3 * noise / np.abs(noise).max(), RATE, subtype="PCM_16")


def program(name: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", f"hpcnas.{name}", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"hpcnas.{name} {' '.join(arguments)}: ended with {done.returncode}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="TC-ResNet8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    noise = arguments.work / "noise"
    if not noise.exists():
        rng = np.random.default_rng(0)
        write_noise(noise / "train", 48, rng)
        write_noise(noise / "test", 16, rng)
    cache = str(arguments.work / "cache")
    test_rooms = rooms.simulated(replace(DataConfig(), copies_seed=1), cache)
    given = {"noise": f"data.noise={noise / 'train'}", "rooms": "data.rooms=simulated"}
    common = [part for one in (*arguments.set, f"data.cache={cache}") for part in ("--set", one)]
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        for name, keys in TRAINED.items():
            run = arguments.work / f"{name.replace(' ', '-')}-{seed}"
            own = [*common, *(part for key in keys for part in ("--set", given[key])), "--set", f"seed={seed}"]
            chosen = ["--models", arguments.model, "--seeds", "1", "--run", str(run), "--resume", "--json"]
            program("compare", arguments.config, *own, *chosen)
            sounds = ["--conditions", "--noise", str(noise / "test"), "--rooms", str(test_rooms)]
            told = json.loads(program("evaluate", str(run), "--model", arguments.model, "--json", *sounds))["conditions"]
            values = {"as recorded": told["clean"]["value"], **{n: c["value"] for n, c in told["conditions"].items()}}
            found.setdefault(name, []).append(values | {"mean of the conditions": told["mean"]["value"]})
            print(seed, name, {n: round(100 * v, 1) for n, v in values.items()}, file=sys.stderr, flush=True)
    columns = list(next(iter(found.values()))[0])
    print(f"| trained | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, seeds in found.items():
        means = (100 * np.mean([values[column] for values in seeds]) for column in columns)
        print(f"| {name} | {' | '.join(f'{mean:.1f} %' for mean in means)} |")


if __name__ == "__main__":
    main()
