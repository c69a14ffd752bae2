"""What exported graphs are tried on: the corpus of a run, or noise where that is not at hand.

Shape letters: ``B`` batch, ``F`` mel bands, ``T`` frames, ``N`` examples, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hpcnas.core import metrics
from hpcnas.core.errors import ExportError
from hpcnas.data import audio, features
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.group import SoloGroup
from hpcnas.nn.training import Trainer
from hpcnas.use.classifier import Classifier

FIGURES = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
    "equal_error_rate": metrics.eer,
    "cross_entropy": metrics.cross_entropy,
}
WINDOWS = 64
STREAM_S = 20
CALIBRATION = 200
"""Windows of the training split by which int8 ranges are found."""


class Material(Protocol):
    """Raw log-mel to try graphs on."""

    name: str
    windows: Tensor
    """(B, F, T)."""
    stream: Tensor
    """(1, F, T), some seconds without a break."""

    @property
    def reached(self) -> Mapping[str, float]:
        """Figures of the model as hpcnas has them."""

    def logits(self, judge: nn.Module) -> np.ndarray:
        """(N, K) of a whole split, by a module from raw log-mel (B, F, T) to logits; N may be 0."""

    def accuracy(self, logits: np.ndarray) -> float:
        """In [0, 1]; NaN where nothing is known to be right."""

    def calibration(self) -> Tensor:
        """(B, F, T) windows; raises ExportError."""


class Speech:
    """The corpus that a model was trained for."""

    name = "the test split"

    def __init__(self, classifier: Classifier, corpus: Corpus) -> None:
        self._classifier, self._corpus = classifier, corpus
        test = corpus.test
        self.windows = _spread(test, WINDOWS, corpus.window)
        frames = round(1000 * STREAM_S / classifier.config.features.hop_ms)
        self.stream = torch.from_numpy(test.frames[:frames].T.astype(np.float32)).unsqueeze(0)

    def logits(self, judge: nn.Module) -> np.ndarray:
        as_it_is: Any = lambda log_mel, *rest: log_mel  # noqa: E731 the graph has its own front end
        return self._predicted(judge, replace(self._corpus, front_end=as_it_is))

    def accuracy(self, logits: np.ndarray) -> float:
        return metrics.accuracy(logits, self._corpus.test.labels)

    @cached_property
    def reached(self) -> Mapping[str, float]:
        logits = self._predicted(self._classifier.model, self._corpus)
        return {f"test_{name}": figure(logits, self._corpus.test.labels) for name, figure in FIGURES.items()}

    def calibration(self) -> Tensor:
        return _spread(self._corpus.train, CALIBRATION, self._corpus.window)

    def _predicted(self, judge: nn.Module, corpus: Corpus) -> np.ndarray:
        return Trainer(corpus, SoloGroup(), self._classifier.config.training).evaluate(judge, corpus.test)


class Noise:
    """White noise that comes and goes."""

    name = "noise"
    reached: Mapping[str, float] = {}

    def __init__(self, classifier: Classifier, length_s: float = STREAM_S) -> None:
        rng = np.random.default_rng(0)
        swell = np.sin(np.linspace(0, np.pi * length_s, round(length_s * audio.RATE))) ** 2
        samples = (0.1 * swell * rng.standard_normal(len(swell))).astype(np.float32)
        log_mel = torch.from_numpy(features.log_mel(samples, classifier.config.features.bank))
        self.stream = log_mel.unsqueeze(0)
        starts = torch.linspace(0, max(0, log_mel.shape[1] - classifier.window), WINDOWS).long()
        padded = nn.functional.pad(log_mel, (0, max(0, classifier.window - log_mel.shape[1])))
        self.windows = torch.stack([padded[:, start : start + classifier.window] for start in starts])
        self._classes = len(classifier.class_names)

    def logits(self, judge: nn.Module) -> np.ndarray:
        return np.zeros((0, self._classes), np.float32)

    def accuracy(self, logits: np.ndarray) -> float:
        return float("nan")

    def calibration(self) -> Tensor:
        raise ExportError("the ranges of 8-bit integers are found in the training split of a corpus, not in noise")


def _spread(split: Split, number: int, window: int) -> Tensor:
    """First windows of evenly spread recordings."""
    rows = np.linspace(0, len(split) - 1, min(len(split), number)).astype(int)
    return split.windows(rows, np.zeros(len(rows), np.int64), window)
