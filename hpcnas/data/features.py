"""Log-mel features: computed once per corpus, by all ranks, into one file that the ranks of a node map instead of copying.

The file is HDF5 with contiguous datasets: ``<split>/features`` (N, F, T) float16, raw log-mel; ``<split>/labels`` (N,);
``noise`` (M, F, T); ``mean`` and ``std`` (F,) of the training split; attributes ``format``, ``class_names``, ``config``.
Shape letters: ``N`` examples, ``M`` noise stretches, ``F`` mel bands, ``T`` frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import kaldi_native_fbank as knf
import numpy as np

from hpcnas.core.errors import ConfigError
from hpcnas.data import audio
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example

FORMAT = 1
NOISE_STRETCH_S = 10.0
"""Noise recordings are kept as stretches of so many seconds."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Kaldi-compatible log-mel filter bank energies."""

    bands: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float = 7600.0

    def __post_init__(self) -> None:
        if self.bands < 1:
            raise ConfigError(f"features.bands = {self.bands}: must be at least 1")
        for name in ("window_ms", "hop_ms"):
            if not 1 <= getattr(self, name) <= 1000:
                raise ConfigError(f"features.{name} = {getattr(self, name)}: must lie between 1 and 1000")
        if not 0 <= self.low_hz < self.high_hz <= audio.RATE / 2:
            raise ConfigError(f"features.low_hz, high_hz = {self.low_hz}, {self.high_hz}: must ascend up to {audio.RATE // 2}")


def log_mel(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """(F, T) natural log of mel band energies of samples at ``audio.RATE``; T = duration / hop, rounded."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = audio.RATE
    options.frame_opts.frame_length_ms = config.window_ms
    options.frame_opts.frame_shift_ms = config.hop_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = config.bands
    options.mel_opts.low_freq = config.low_hz
    options.mel_opts.high_freq = config.high_hz
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(audio.RATE, samples)
    bank.input_finished()
    return np.stack([bank.get_frame(t) for t in range(bank.num_frames_ready)], axis=1)


def fingerprint(index: CorpusIndex, data: DataConfig, config: FeatureConfig) -> str:
    """Name of the feature file: changes with the configuration, the examples, and the files' sizes and times."""
    digest = hashlib.sha256(json.dumps([FORMAT, data.window_s, asdict(config), index.class_names]).encode())
    for example in (*index.examples, *(Example(path, -1) for path in index.noise)):
        stat = example.path.stat()
        digest.update(f"{example}{stat.st_size}{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def create(path: Path, index: CorpusIndex, data: DataConfig, config: FeatureConfig) -> None:
    """Lay out the file with everything but the features: one process, before ``fill``."""
    frames = log_mel(np.zeros(round(data.window_s * audio.RATE), np.float32), config).shape[1]
    stretches = _noise_stretches(index)
    with h5py.File(path, "w") as file:
        for split in SPLITS:
            group = file.create_group(split)
            _allocate(group, "features", (len(index.splits[split]), config.bands, frames))
            group["labels"] = np.array([example.label for example in index.splits[split]], np.int64)
        noise_frames = log_mel(np.zeros(round(NOISE_STRETCH_S * audio.RATE), np.float32), config).shape[1]
        _allocate(file, "noise", (len(stretches), config.bands, noise_frames))
        file.attrs["format"] = FORMAT
        file.attrs["class_names"] = list(index.class_names)
        file.attrs["config"] = json.dumps(asdict(config))


def fill(path: Path, index: CorpusIndex, data: DataConfig, config: FeatureConfig, part: int, parts: int) -> int:
    """Compute this process's share, ``part`` of ``parts``, and write it in place; returns the number of examples.

    Raises:
        DataError: for a file that is no audio.
    """
    done = 0
    jobs = [(f"{split}/features", index.splits[split], data.window_s) for split in SPLITS]
    jobs.append(("noise", _noise_stretches(index), NOISE_STRETCH_S))
    with open(path, "r+b") as raw:
        for name, examples, length_s in jobs:
            offset, shape = _location(path, name)
            row_bytes = 2 * shape[1] * shape[2]
            first, last = (len(examples) * (part + i) // parts for i in (0, 1))
            raw.seek(offset + first * row_bytes)
            for example in examples[first:last]:
                samples = audio.read(example.path, example.start_s, length_s) * np.float32(example.gain)
                if name == "noise":  # a shorter one is repeated: no silence between
                    samples = np.resize(samples, round(length_s * audio.RATE))
                samples = audio.fitted(samples, round(length_s * audio.RATE))
                raw.write(log_mel(samples, config).astype(np.float16).tobytes())
                done += 1
    return done


def finish(path: Path) -> None:
    """Add mean and deviation of the training split: one process, after every ``fill``."""
    features = _mapped(path, "train/features")
    rows = features[np.linspace(0, len(features) - 1, min(len(features), 20000)).astype(int)].astype(np.float32)
    with h5py.File(path, "r+") as file:
        file["mean"] = rows.mean((0, 2))
        file["std"] = rows.std((0, 2)).clip(1e-3)


@dataclass(frozen=True)
class Features:
    """A finished feature file; the large arrays are mapped."""

    features: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    noise: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    class_names: tuple[str, ...]


def load(path: Path) -> Features:
    with h5py.File(path, "r", locking=False) as file:
        labels = {split: file[split]["labels"][:] for split in SPLITS}
        mean, std, names = file["mean"][:], file["std"][:], tuple(map(str, file.attrs["class_names"]))
    features = {split: _mapped(path, f"{split}/features") for split in SPLITS}
    return Features(features, labels, _mapped(path, "noise"), mean, std, names)


def _noise_stretches(index: CorpusIndex) -> Sequence[Example]:
    return [
        Example(path, -1, start_s=start)
        for path in index.noise
        for start in np.arange(0, max(1.0, audio.duration_s(path) - NOISE_STRETCH_S / 2), NOISE_STRETCH_S).tolist()
    ]


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...]) -> None:
    """A contiguous float16 dataset whose bytes exist in the file at once, so that ranks can write theirs in place."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    kind = h5py.h5t.py_create(np.dtype(np.float16))
    h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(shape), properties)


def _location(path: Path, name: str) -> tuple[int, tuple[int, ...]]:
    with h5py.File(path, "r", locking=False) as file:
        return file[name].id.get_offset() or 0, file[name].shape


def _mapped(path: Path, name: str) -> np.ndarray:
    offset, shape = _location(path, name)
    if 0 in shape:
        return np.zeros(shape, np.float16)
    return np.memmap(path, np.float16, "r", offset, shape)
