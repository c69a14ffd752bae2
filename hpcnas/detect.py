"""Keywords in long audio, with times and scores.

    python -m hpcnas.detect RUN_OR_MODEL AUDIO... [--model NAME] [--threshold SCORE] [--json]

The window slides over the audio, or, if the model is causal, it is fed frame by frame; posteriors are smoothed, and a keyword
is told once within its refractory time (``[spotting]`` in the run's configuration, or ``--set spotting.key=value``), if its
score reaches the threshold that ``hpcnas.evaluate`` chose for it. Recordings are read block by block, and detections told as
they become certain: the length of a recording does not matter.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hpcnas import config as configuration
from hpcnas.core.errors import ConfigError
from hpcnas.core.spotting import Threshold
from hpcnas.data import audio
from hpcnas.runtime.threads import set_alone
from hpcnas.showing.terminal import finite, outer_edge, plain
from hpcnas.use.classifier import MODEL_NAMES, Classifier, opened
from hpcnas.use.hearing import hear, keywords_of

UNCHOSEN = 0.5
"""Threshold where nobody chose one."""


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.detect", description="Find keywords in long audio.")
    parser.add_argument("run", type=Path, help="run directory, or a model exported as state_dict")
    parser.add_argument("audio", type=Path, nargs="+", help="recordings of any length, rate and format")
    parser.add_argument("--model", help=MODEL_NAMES)
    parser.add_argument(
        "--threshold",
        type=finite,
        help="lowest smoothed posterior to tell, of any keyword (default: each keyword's own, which hpcnas.evaluate chose)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a detection")
    parser.add_argument("--set", action="append", default=[], metavar="spotting.KEY=VALUE", help="override; may be repeated")
    arguments = parser.parse_args(argv)
    set_alone()
    classifier = opened(arguments.run, arguments.model)
    config = configuration.parsed(configuration.dump(classifier.config), "--set", arguments.set)
    if changed := configuration.differences(classifier.config, config):
        raise ConfigError(f"--set {'; '.join(changed)}: only spotting.* can be changed here")
    threshold = threshold_of(classifier) if arguments.threshold is None else arguments.threshold
    for path in arguments.audio:
        for found in hear(audio.stream(path), classifier, threshold, config.spotting):
            name = classifier.class_names[found.keyword]
            if arguments.json:
                values = {"audio": str(path), "keyword": name, "time_s": round(found.time_s, 3), "score": found.score}
                print(json.dumps(values), flush=True)
            else:
                print(f"{plain(str(path))}\t{found.time_s:8.2f} s\t{found.score:.3f}\t{plain(name)}", flush=True)


def threshold_of(classifier: Classifier) -> Threshold:
    """Each keyword's own; where none were chosen one for all, which is said."""
    if classifier.thresholds is None or not classifier.thresholds.keywords:
        said = (
            f"no thresholds were chosen for {classifier.name} (python -m hpcnas.evaluate RUN does): {UNCHOSEN} for all keywords"
        )
        print(said, file=sys.stderr)
        return UNCHOSEN
    own = classifier.thresholds.keywords
    return {number: own.get(classifier.class_names[number], UNCHOSEN) for number in keywords_of(classifier)}


if __name__ == "__main__":
    main()
