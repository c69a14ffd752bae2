"""Keywords in long audio, with times and scores.

    python -m hpcnas.detect RUN_OR_MODEL AUDIO... [--model NAME] [--threshold 0.5] [--json]

The window slides over the audio, or, if the model is causal, it is fed frame by frame; posteriors are smoothed, and a keyword
is told once within its refractory time (``[spotting]`` in the run's configuration, or ``--set spotting.key=value``). Recordings
are read block by block, and detections told as they become certain: the length of a recording does not matter.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from hpcnas import config as configuration
from hpcnas.classifier import MODEL_NAMES, Classifier, opened
from hpcnas.core import metrics
from hpcnas.core.errors import ConfigError
from hpcnas.core.spotting import Detection, Smoother, Spotter, SpottingConfig
from hpcnas.data import audio
from hpcnas.data.speech_commands import SILENCE, UNKNOWN
from hpcnas.runtime.threads import set_alone
from hpcnas.terminal import finite, outer_edge, plain


@outer_edge()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m hpcnas.detect", description="Find keywords in long audio.")
    parser.add_argument("run", type=Path, help="run directory, or a model exported as state_dict")
    parser.add_argument("audio", type=Path, nargs="+", help="recordings of any length, rate and format")
    parser.add_argument("--model", help=MODEL_NAMES)
    parser.add_argument("--threshold", type=finite, default=0.5, help="lowest smoothed posterior to tell (default 0.5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a detection")
    parser.add_argument("--set", action="append", default=[], metavar="spotting.KEY=VALUE", help="override; may be repeated")
    arguments = parser.parse_args(argv)
    set_alone()
    classifier = opened(arguments.run, arguments.model)
    config = configuration.parsed(configuration.dump(classifier.config), "--set", arguments.set)
    if changed := configuration.differences(classifier.config, config):
        raise ConfigError(f"--set {'; '.join(changed)}: only spotting.* can be changed here")
    for path in arguments.audio:
        for found in hear(audio.stream(path), classifier, arguments.threshold, config.spotting):
            name = classifier.class_names[found.keyword]
            if arguments.json:
                values = {"audio": str(path), "keyword": name, "time_s": round(found.time_s, 3), "score": found.score}
                print(json.dumps(values), flush=True)
            else:
                print(f"{plain(str(path))}\t{found.time_s:8.2f} s\t{found.score:.3f}\t{plain(name)}", flush=True)


def heard(classifier: Classifier, samples: np.ndarray, threshold: float, config: SpottingConfig) -> list[Detection]:
    """Keywords in samples at ``audio.RATE`` whose smoothed posterior reaches ``threshold``."""
    return list(hear([samples], classifier, threshold, config))


def hear(blocks: Iterable[np.ndarray], classifier: Classifier, threshold: float, config: SpottingConfig) -> Iterator[Detection]:
    """The same in audio that comes in blocks, each as soon as it is certain; memory does not grow with the audio."""
    keywords = [number for number, name in enumerate(classifier.class_names) if name not in (UNKNOWN, SILENCE)]
    smoother, spotter = Smoother(config), Spotter(keywords, config, threshold)
    judge = listened if classifier.can_listen else scanned
    for times_s, logits in judge(blocks, classifier, config):
        yield from spotter.push(smoother.push(np.exp(metrics.log_posteriors(logits))), times_s)
    yield from spotter.finish()


Judged = Iterator[tuple[np.ndarray, np.ndarray]]
"""Middles of windows in seconds (S,), and their logits (S, K), batch by batch."""


def scanned(blocks: Iterable[np.ndarray], classifier: Classifier, config: SpottingConfig) -> Judged:
    """By a window that slides."""
    return classifier.scan_blocks(blocks, config.hop_s)


def listened(blocks: Iterable[np.ndarray], classifier: Classifier, config: SpottingConfig) -> Judged:
    """Frame by frame, for causal models."""
    hop, half_s = round(config.hop_s * audio.RATE), classifier.config.data.window_s / 2
    told = classifier.listen(pieces(padded(blocks, classifier), hop))
    while batch := list(islice(told, 256)):
        yield np.array([time_s - half_s for time_s, _ in batch]), np.stack([logits for _, logits in batch])


def padded(blocks: Iterable[np.ndarray], classifier: Classifier) -> Iterator[np.ndarray]:
    """At least a window of samples, and behind them what the last frames look into."""
    features, count = classifier.config.features, 0
    for block in blocks:
        count += len(block)
        yield block
    missing = max(0, round(classifier.config.data.window_s * audio.RATE) - count)
    yield np.zeros(missing + round(features.window_ms / 1000 * audio.RATE), np.float32)


def pieces(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """The same samples in pieces of ``length``; the last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        known = np.concatenate([rest, block])
        whole = len(known) - len(known) % length
        yield from (known[start : start + length] for start in range(0, whole, length))
        rest = known[whole:]
    if len(rest):
        yield rest


if __name__ == "__main__":
    main()
