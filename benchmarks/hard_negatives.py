"""What hard negatives in training are worth: a published model, trained on a corpus alone, and with words that sound like its
keywords, with windows of audio without keywords, with those of them that the first model took for keywords, and with several.

    tools/with_env.sh .venv python benchmarks/hard_negatives.py [CONFIG.toml] --work FOLDER [--model TC-ResNet8] [--seeds 3]
        [--trained NAME ...] [--words 10] [--windows 500] [--hours 2] [--test-hours 3] [--learnt FOLDER --heard FOLDER]
        [--set KEY=VALUE ...]

All of a seed are trained alike, and heard in the same built-in audio without keywords, by other voices than that for training;
``--learnt`` and ``--heard`` name other audio, divided by lists. ``--words 0`` is for keywords that are not written as eSpeak NG
would read them.
Prints a Markdown table: means over seeds, with 95 % intervals where there is one seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from conditions import program

from hpcnas import config as configuration
from hpcnas.data import negatives, synthetic_negatives

TRAINED = {
    "as now": (),
    "words": ("words",),
    "windows": ("windows",),
    "mined": ("mined",),
    "words and mined": ("words", "mined"),
}
HOP = "spotting.hop_s=0.2"
"""Half of what it takes to hear hours."""
FIGURES = (
    "accuracy",
    "misses at 1 false alarm an hour",
    "misses at 10 false alarms an hour",
    "false alarms an hour at 10 % misses",
    "words that sound alike taken for keywords",
    "synthesised keywords missed",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="TC-ResNet8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trained", nargs="+", choices=TRAINED, default=list(TRAINED))
    parser.add_argument("--words", type=int, default=10, help="of each keyword")
    parser.add_argument("--windows", type=int, default=500)
    parser.add_argument("--hours", type=float, default=2.0, help="without keywords, for training")
    parser.add_argument("--test-hours", type=float, default=3.0)
    parser.add_argument("--learnt", help="folder of audio without keywords for training")
    parser.add_argument("--heard", help="folder of audio without keywords for the test")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    data = configuration.load(Path(arguments.config) if arguments.config else None, arguments.set).data
    folder = arguments.learnt or synthetic_negatives.folder(data.keywords, arguments.hours, data.cache, for_training=True)
    hours = arguments.test_hours / (1 - synthetic_negatives.VALIDATION)
    heard = [f"data.negatives={arguments.heard or negatives.BUILTIN}", f"data.negative_hours={hours}", HOP]
    common = [part for one in arguments.set for part in ("--set", one)]
    config = [arguments.config] if arguments.config else []
    alike = f"data.confusable_words={arguments.words}"
    found: dict[str, list[dict[str, dict]]] = {}
    for seed in range(arguments.seeds):
        first = arguments.work / f"as-now-{seed}"
        mined = arguments.work / f"mined-{seed}.json"
        for name in arguments.trained:
            run = arguments.work / f"{name.replace(' ', '-')}-{seed}"
            own = {"words": [alike], "mined": [f"data.mined_negatives={mined}"], "windows": []}
            keys = [f"seed={seed}", f"data.negatives={folder}", *(key for part in TRAINED[name] for key in own[part])]
            if "windows" in TRAINED[name]:
                keys.append(f"data.negative_percent={share_of(first, arguments.windows)}")
            if "mined" in TRAINED[name] and not mined.exists():
                count = ["--count", str(arguments.windows), "--out", str(mined)]
                said = program("mine", str(first), "--model", arguments.model, *count, "--set", HOP)
                print(said.strip(), file=sys.stderr, flush=True)
            chosen = ["--models", arguments.model, "--seeds", "1", "--run", str(run), "--resume", "--json"]
            program("compare", *config, *common, *(part for key in keys for part in ("--set", key)), *chosen)
            judged = [part for key in (*heard, *([alike] if arguments.words else [])) for part in ("--set", key)]
            told = json.loads(program("evaluate", str(run), "--model", arguments.model, "--json", *judged))["figures"]
            found.setdefault(name, []).append(told)
            print(seed, name, {f: told[f] for f in FIGURES if f in told}, file=sys.stderr, flush=True)
    columns = [figure for figure in FIGURES if all(figure in told for of in found.values() for told in of)]
    print(f"| trained | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, seeds in found.items():
        print(f"| {name} | {' | '.join(cell(column, [told[column] for told in seeds]) for column in columns)} |")


def share_of(run: Path, windows: int) -> float:
    """``data.negative_percent`` that gives so many windows, by what the run remembers of its corpus."""
    train = json.loads((run / "compare" / "corpus.json").read_text())["recordings"]["train"]
    return 100 * windows / sum(count for name, count in train.items() if not name.startswith("_"))


def cell(figure: str, values: list[dict]) -> str:
    if any(value["value"] is None for value in values):
        return "not told"
    scale, form = (1, "{:,.0f}") if figure.startswith("false alarms") else (100, "{:.1f} %")
    text = form.format(scale * np.mean([value["value"] for value in values]))
    if len(values) == 1 and values[0]["interval"]:
        low, high = (form.format(scale * end) for end in values[0]["interval"])
        return f"{text} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
    return text


if __name__ == "__main__":
    main()
