"""What a trial is trained and judged on: log-mel of recordings of any length, seen through windows of one.

Shape letters: ``N`` recordings, ``B`` windows, ``F`` bands, ``T`` frames.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hpcnas.nn.front_end import FrontEnd
from hpcnas.nn.placing import moved

SAMPLE = 2000
"""Windows of the training split from which the front end's mean and deviation are taken."""


@dataclass(frozen=True)
class Split:
    """Recordings in memory or mapped from a file.

    Args:
        frames: (T, F) raw log-mel of all recordings, one after the other.
        starts: (N,) the first frame of each recording.
        lengths: (N,) frames of each recording; none is shorter than a window.
        spoken: (N,) frames of each before the silence that pads it, if it is padded.
        labels: (N,).
        copies: (N, C) where each copy of a recording lies, the first being the recording as it is; None: there are no others.
        rows: (N,) the numbers of the recordings among those of the corpus; None: nobody asks.
        device: where windows are wanted.
        resident: ``frames`` on that device; None: they are read from where they are.
    """

    frames: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    spoken: np.ndarray
    labels: np.ndarray
    copies: np.ndarray | None = None
    rows: np.ndarray | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def times(self) -> int:
        """C, how many copies of each recording there are."""
        return 1 if self.copies is None else self.copies.shape[1]

    @cached_property
    def _in_memory(self) -> Tensor:
        """``frames``, no copy."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes
            return torch.from_numpy(self.frames)

    def on(self, device: torch.device, resident: bool) -> Split:
        """The same for a model on ``device``; ``resident``: with all its frames there."""
        return replace(self, device=device, resident=self._in_memory.to(device) if resident else None)

    def only(self, kept: np.ndarray) -> Split:
        """Some of the recordings: a mask, or their numbers here."""
        columns = ("starts", "lengths", "spoken", "labels", "copies", "rows")
        return replace(self, **{name: column[kept] for name in columns if (column := getattr(self, name)) is not None})

    def spread(self, count: int) -> Split:
        """So many recordings, evenly spread over all; all, if there are no more or ``count`` is 0."""
        if not 0 < count < len(self):
            return self
        return self.only(np.linspace(0, len(self) - 1, count).round().astype(int))

    def windows(self, rows: np.ndarray, offsets: np.ndarray, length: int, copies: np.ndarray | None = None) -> Tensor:
        """(B, F, T) windows of ``length`` frames: of recording ``rows[b]``, in its copy ``copies[b]`` (None: as it is), from
        its frame ``offsets[b]`` on. The bands of a frame lie side by side in memory, as in the file."""
        starts = self.starts[rows]
        if copies is not None:
            assert self.copies is not None, "there are no copies"
            starts = self.copies[rows, copies]
        source = self._in_memory if self.resident is None else self.resident
        index = ((starts + offsets)[:, None] + np.arange(length)).ravel()
        frames = source.index_select(0, moved(index, source.device))
        return moved(frames, self.device).view(len(rows), length, source.shape[1]).float().transpose(1, 2)

    def real_frames(self, rows: np.ndarray, offsets: np.ndarray, length: int) -> Tensor | None:
        """(B,) frames of these windows that are no padding, on the host, which has to know; None if all are real."""
        real = (self.spoken[rows] - offsets).clip(1, length)
        return torch.from_numpy(real) if (real < length).any() else None

    def covering(self, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and offsets of windows that cover the recordings ``rows``, evenly spread and half overlapping at least."""
        spare = self.lengths[rows] - length
        counts = 1 + -(-2 * spare // length)
        offsets = [np.linspace(0, rest, count).round().astype(np.int64) for rest, count in zip(spare, counts)]
        return np.repeat(rows, counts), np.concatenate(offsets) if len(rows) else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Corpus:
    """Recordings in three splits.

    Args:
        window: T, which a model sees at once.
        noise: (M, F, T) log-mel of background noise; M may be 0.
        front_end: from windows to what a model sees.
        class_names: of the labels.
    """

    train: Split
    validation: Split
    test: Split
    window: int
    noise: Tensor
    front_end: FrontEnd
    class_names: tuple[str, ...]

    @property
    def bands(self) -> int:
        """Of what a model sees."""
        return self.front_end.bands

    def on(self, device: torch.device, limit: float) -> Corpus:
        """The same for models on ``device``, with what a step needs of it there: the training split's frames, and then the
        validation split's, as far as they fit into ``limit`` bytes. On a CPU they are mapped, and stay so."""
        if device.type == "cpu":
            return self
        train_fits = self.train.frames.nbytes <= limit
        both_fit = self.train.frames.nbytes + self.validation.frames.nbytes <= limit
        return replace(
            self,
            train=self.train.on(device, train_fits),
            validation=self.validation.on(device, both_fit),
            test=self.test.on(device, False),
            noise=self.noise.to(device),
            front_end=self.front_end.on(device),
        )


def sampled(train: Split, window: int) -> tuple[Tensor, Tensor | None]:
    """(B, F, T) first windows of evenly spread recordings, of their copies in turn, the same on every rank, and (B,) how many
    of their frames are real (None: all)."""
    rows = np.linspace(0, len(train) - 1, min(len(train), SAMPLE)).astype(int)
    start = np.zeros(len(rows), np.int64)
    copies = None if train.times == 1 else np.arange(len(rows)) % train.times
    return train.windows(rows, start, window, copies), train.real_frames(rows, start, window)
