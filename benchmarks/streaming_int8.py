"""Keywords that a stream of 8-bit integers hears in ten minutes of audio, against those of the model in torch.

    python benchmarks/streaming_int8.py RUN[:MODEL] [--minutes 10] [--thresholds 0.3 0.5 0.7 0.9]

Needs LiteRT (pip install 'hpcnas[litert]') and a run of a causal model. Test recordings, each a window, follow one another in
random order with half a second to a second of quiet noise between them (60 dB below full scale). The model in floats hears them
as ``hpcnas.detect`` does; the exported graph step by step, all over with its state as integers. Two detections are the same if
they are of one keyword and nearer than its refractory time; found is a keyword with a detection where it was spoken. A Markdown
table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from hpcnas.core.spotting import Detection, Smoother, Spoken, Spotter, SpottingConfig
from hpcnas.data import audio, features
from hpcnas.data.corpus import SILENCE, UNKNOWN
from hpcnas.deploy import check, litert
from hpcnas.deploy.write import Feeding, Graph
from hpcnas.export import speech
from hpcnas.runtime.features import indexed
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier
from hpcnas.use.hearing import heard, keywords_of

QUIET = 1e-3
"""Of full scale, the noise between recordings."""


def strung(classifier: Classifier, minutes: float) -> tuple[np.ndarray, list[Spoken]]:
    """Samples, and where the keywords are; recordings come again if there are too few."""
    rng, config = np.random.default_rng(0), classifier.config
    window = round(config.data.window_s * audio.RATE)
    examples = indexed(config).splits["test"]
    parts: list[np.ndarray] = []
    spoken: list[Spoken] = []
    length, order = 0, []
    while length < 60 * minutes * audio.RATE:
        order = order or rng.permutation(len(examples)).tolist()
        example = examples[order.pop()]
        gap = (QUIET * rng.standard_normal(rng.integers(audio.RATE // 2, audio.RATE))).astype(np.float32)
        recording = audio.read(example.source, example.start_s, config.data.window_s) * np.float32(example.gain)
        parts += [gap, audio.fitted(recording, window)]
        start_s = (length + len(gap)) / audio.RATE
        if classifier.class_names[example.label] not in (UNKNOWN, SILENCE):
            spoken.append(Spoken(example.label, start_s, start_s + config.data.window_s))
        length += len(gap) + window
    return np.concatenate(parts), spoken


def heard_by_steps(graph: Graph, path: Path, samples: np.ndarray, threshold: float, config: SpottingConfig) -> list[Detection]:
    """As ``heard``, by the graph in the LiteRT file ``path``."""
    classifier, frames = graph.classifier, graph.module.frames
    bank = classifier.config.features.bank
    log_mel = torch.from_numpy(features.log_mel(samples, bank)).unsqueeze(0)
    logits = check.OnSteps(litert.litert_run(path), graph.module).stream(log_mel).numpy()
    # Of frames that were fed, those behind the first step of each hop: a model in floats is asked that often.
    behind, hop = frames * np.arange(1, len(logits) + 1), features.frames_of(config.hop_s, bank)
    counted = (behind >= classifier.window) & (behind // hop > (behind - frames) // hop)
    times_s = behind[counted] * bank.hop_ms / 1000 - classifier.config.data.window_s / 2
    spotter = Spotter(keywords_of(classifier), config, threshold)
    scores = Smoother(config).push(classifier.posteriors(logits[counted]))
    return [*spotter.push(scores, times_s), *spotter.finish()]


def found(heard: Sequence[Detection], spoken: Sequence[Spoken], near_s: float) -> int:
    """How many keywords that were spoken have a detection."""
    times = [(one, [d.time_s for d in heard if d.keyword == one.keyword]) for one in spoken]
    return sum(any(one.start_s - near_s <= time_s <= one.end_s + near_s for time_s in of) for one, of in times)


def alone(some: Sequence[Detection], others: Sequence[Detection], apart_s: float) -> int:
    """How many of ``some`` are not among ``others``."""
    return sum(not any(d.keyword == o.keyword and abs(d.time_s - o.time_s) < apart_s for o in others) for d in some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN[:MODEL]")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.9])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    root, _, model = arguments.run.partition(":")
    classifier = Classifier.open(RunDir(Path(root)), model or "best")
    graph, config = Graph.of(classifier, Feeding(step=0), speech(classifier)), classifier.config.spotting
    samples, spoken = strung(classifier, arguments.minutes)
    lowest = min(arguments.thresholds)
    with TemporaryDirectory() as folder:
        full = graph.write(Path(folder) / "model.tflite", "litert")
        small = graph.write_int8(Path(folder) / "model.int8.tflite", full.path, "litert")
        both = [heard(classifier, samples, lowest, config), heard_by_steps(graph, small.path, samples, lowest, config)]
    accuracies = f"test accuracy {full.accuracy:.1%}, in integers {small.accuracy:.1%}"
    print(f"{len(samples) / audio.RATE / 60:.1f} minutes, {len(spoken)} keywords; {accuracies}\n")
    print("| threshold | detections in floats, keywords found | in integers | in floats alone | in integers alone |")
    print("|---|---|---|---|---|")
    for threshold in arguments.thresholds:
        floats, integers = ([d for d in of if d.score >= threshold] for of in both)
        cells = [f"{len(of)}, {found(of, spoken, config.tolerance_s)}" for of in (floats, integers)]
        cells += [str(alone(one, other, config.refractory_s)) for one, other in ((floats, integers), (integers, floats))]
        print(f"| {threshold:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
