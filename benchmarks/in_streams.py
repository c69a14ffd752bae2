"""What models make of test recordings by themselves and in audio that goes on, where front ends that remember know more.

    tools/with_env.sh .venv python benchmarks/in_streams.py RUN[:MODEL] [RUN[:MODEL] ...]

Recordings of one window: each by itself; behind two seconds of background noise 30 dB below it; all one after the other in
random order; and in noise of 20 and 10 dB, which began a second before. Noise is that for training. Prints a Markdown table of
accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hpcnas.data import audio
from hpcnas.data.features import frames_of, log_mel
from hpcnas.runtime.features import indexed
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier


class Recordings:
    """The test split of a classifier's run, and noise."""

    def __init__(self, classifier: Classifier) -> None:
        config, self._classifier = classifier.config, classifier
        self._bank, self._length = config.features.bank, round(config.data.window_s * audio.RATE)
        index = indexed(config)
        if not index.noise:
            raise SystemExit(f"{config.data.path}: has no background noise")
        examples = index.splits["test"]
        self.labels = np.array([example.label for example in examples])
        read = (audio.read(e.source, e.start_s, config.data.window_s) * np.float32(e.gain) for e in examples)
        self.samples = [audio.fitted(samples, self._length) for samples in read]
        self._noise = [audio.read(part.path, part.start_s, part.length_s or None) for part in index.noise]

    def accuracy(self, features: Sequence[np.ndarray]) -> float:
        """In per cent, of (F, T) of each recording."""
        logits = [
            self._classifier.logits(torch.from_numpy(np.stack(features[i : i + 64]))) for i in range(0, len(features), 64)
        ]
        return 100 * float((np.concatenate(logits).argmax(1) == self.labels).mean())

    def after(self, lead_s: float, made: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[np.ndarray]:
        """Features of each recording in what ``made`` makes of it and of noise that begins ``lead_s`` before it."""
        rng, lead = np.random.default_rng(1), round(lead_s * audio.RATE)
        found = []
        for samples in self.samples:
            noise = self._noise[rng.integers(len(self._noise))]
            start = rng.integers(max(1, len(noise) - lead - self._length))
            noise = np.resize(noise[start : start + lead + self._length], lead + self._length)
            level = np.sqrt(np.square(samples).mean() / (np.square(noise).mean() + 1e-12))
            heard = made(np.pad(samples, (lead, 0)), (level * noise).astype(np.float32))
            found.append(log_mel(heard.astype(np.float32), self._bank)[:, frames_of(lead_s, self._bank) :])
        return found

    def chained(self) -> list[np.ndarray]:
        """Features of each recording in a stream of all."""
        order = np.random.default_rng(0).permutation(len(self.samples))
        frames = log_mel(np.concatenate([self.samples[row] for row in order]), self._bank)
        window = frames_of(self._length / audio.RATE, self._bank)
        found = dict(zip(order, np.split(frames, len(order), axis=1)))
        assert all(one.shape[1] == window for one in found.values())
        return [found[row] for row in range(len(order))]


def quiet_before(samples: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Noise where the recording is not."""
    before = (samples == 0).cumprod().astype(bool)
    return np.where(before, noise * 10 ** (-30 / 20), samples)


def row(name: str) -> str:
    """A line of the table."""
    root, _, model = name.partition(":")
    classifier = Classifier.open(RunDir(Path(root)), model or "best")
    those = Recordings(classifier)
    figures = [
        those.accuracy(those.after(0.0, lambda samples, noise: samples)),
        those.accuracy(those.after(2.0, quiet_before)),
        those.accuracy(those.chained()),
        *(those.accuracy(those.after(1.0, lambda s, n, db=db: s + n * 10 ** (-db / 20))) for db in (20, 10)),
    ]
    return f"| {name}, `{classifier.config.features.kind}` | {' | '.join(f'{figure:.1f} %' for figure in figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN[:MODEL]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | by themselves | after quiet noise | one after the other | in noise of 20 dB | 10 dB |")
    print("|---|---|---|---|---|---|")
    for name in arguments.runs:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
