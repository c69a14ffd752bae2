"""Log-mel features, or a device's own (``micro``): computed once per corpus, by all ranks, and put together in one file that
ranks map instead of copying.

They are computed in shares, each a file of its own, since file systems over a network may lose bytes where two nodes write into
one; one rank copies the shares, each against its checksum, into an HDF5 file with contiguous datasets:
``<split>/frames`` (T, F) float16, raw log-mel of all examples one after the other;
``<split>/starts`` and ``lengths`` (N,), where in them each example lies; ``<split>/spoken`` (N,), frames that are no padding;
``<split>/labels`` (N,); ``<split>/usable`` (N,), false for examples that could not be read; ``noise/...`` likewise. Examples
that are kept in several copies, of as many conditions, have these one after the other, N counts them, and the group's attribute
``copies`` says how many there are;
``remarks`` (lines of text), what users should hear of these recordings; attributes ``format``, ``class_names``, ``config``.
Shape letters: ``N`` examples, ``F`` mel bands, ``T`` frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import h5py
import kaldi_native_fbank as knf
import numpy as np

from hpcnas.core.errors import ConfigError, DataError
from hpcnas.data import audio, problems, surroundings
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig, Example
from hpcnas.data.mixing import Mixer, key_for
from hpcnas.data.problems import Problem
from hpcnas.data.splitting import share_of

FORMAT = 5
MIXING = 1
"""Of how recordings are put into conditions."""
USER_BLOCK = 512
"""Bytes at the beginning of the file that HDF5 leaves alone: room for a checksum of all others."""
NOISE = "noise"
_CHUNK = 1 << 22
NOISE_STRETCH_S = 10.0
"""Noise recordings are kept as stretches of so many seconds, or of a window's length if that is more."""


@dataclass(frozen=True, kw_only=True)
class FilterBank:
    """Kaldi-compatible log-mel filter bank energies. ``micro.MicroBank`` is another bank with the same methods."""

    remembers: ClassVar[bool] = False
    """Whether features of what comes depend on what was before."""
    bands: int = 40
    """Of the mel filter bank."""
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

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_ms / 1000 * audio.RATE)

    def stream(self) -> FeatureStream:
        """What makes features of one recording, or of one microphone: it begins knowing nothing."""
        return LogMelStream(self)

    def check(self) -> None:
        """Raises ConfigError if what computes the features is not installed."""

    @property
    def described(self) -> dict[str, dict[str, Any]]:
        """All that another program needs to make the same features, for JSON."""
        return {"kaldi_fbank": kaldi_options(self)}


BEFORE_S = 1.0
"""So much of another recording a bank that remembers hears before one; what was earlier counts for less than a tenth."""
_AT_ONCE = 10 * audio.RATE
"""Samples that are a list at a time."""


def log_mel(samples: np.ndarray, config: FilterBank, before: np.ndarray | None = None) -> np.ndarray:
    """(F, T) natural log of mel bands of a whole recording at ``audio.RATE``; T = duration / hop, rounded.

    Args:
        before: what the bank heard before it, for one that remembers; of it as many samples as are whole hops.
    """
    stream, hops = config.stream(), 0
    if before is not None:
        hops = len(before) // config.hop
        stream.accept(before[: hops * config.hop])
    stream.accept(samples)
    return stream.finish()[:, hops:]


class FeatureStream(Protocol):
    """Features of samples that come in pieces."""

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(F, T) of the frames that these samples complete; T may be 0."""

    def accept(self, samples: np.ndarray) -> None:
        """Take samples in, for later."""

    def finish(self) -> np.ndarray:
        """(F, T) of the last frames, which look behind the end."""


class LogMelStream:
    """Kaldi's, piece by piece."""

    def __init__(self, config: FilterBank) -> None:
        self.bank, self._done, self._bands = knf.OnlineFbank(_options(config)), 0, config.bands

    def push(self, samples: np.ndarray) -> np.ndarray:
        self.accept(samples)
        return self.ready()

    def accept(self, samples: np.ndarray) -> None:
        # The library takes any sequence one by one, and a list a quarter faster than an array; an hour's would be 2 GB.
        for start in range(0, len(samples), _AT_ONCE):
            self.bank.accept_waveform(audio.RATE, samples[start : start + _AT_ONCE].tolist())

    def finish(self) -> np.ndarray:
        """(F, T) of the last frames, which look into what would come behind the end."""
        self.bank.input_finished()
        return self.ready()

    def ready(self) -> np.ndarray:
        """(F, T) of the frames that were not given yet."""
        frames = [self.bank.get_frame(t) for t in range(self._done, self.bank.num_frames_ready)]
        if not frames:
            return np.zeros((self._bands, 0), np.float32)
        log_mel = np.stack(frames, axis=1)  # a copy: the frames are views of what is about to go
        self._done += len(frames)
        self.bank.pop(len(frames))
        return log_mel


def kaldi_options(config: FilterBank) -> dict[str, dict[str, float | bool]]:
    """Kaldi's options where they differ from its defaults; all that another program needs to make the same log-mel."""
    return {
        "frame_opts": {
            "samp_freq": audio.RATE,
            "frame_length_ms": config.window_ms,
            "frame_shift_ms": config.hop_ms,
            "dither": 0.0,
            "snip_edges": False,
        },
        "mel_opts": {"num_bins": config.bands, "low_freq": config.low_hz, "high_freq": config.high_hz},
    }


def _options(config: FilterBank) -> knf.FbankOptions:
    options = knf.FbankOptions()
    for group, values in kaldi_options(config).items():
        for name, value in values.items():
            setattr(getattr(options, group), name, value)
    return options


def frames_of(length_s: float, config: FilterBank) -> int:
    """T of so many seconds of audio."""
    return (round(length_s * audio.RATE) + config.hop // 2) // config.hop


def noise_stretch_s(data: DataConfig) -> float:
    """Length of the stretches of noise: a window is cut from each, so none is shorter."""
    return max(NOISE_STRETCH_S, data.window_s)


def fingerprint(index: CorpusIndex, data: DataConfig, config: FilterBank) -> str:
    """Name of the feature file: changes with the configuration, the examples, the conditions they are heard in, and the sizes
    and times of all files."""
    settings = [FORMAT, data.window_s, data.on_bad_file, asdict(config), index.class_names]
    digest = hashlib.sha256(json.dumps(settings).encode())
    stat_of = lru_cache(1)(Path.stat)  # thousands of recordings are in one shard
    for example in (*index.examples, *index.noise):
        stat = stat_of(example.file)
        digest.update(f"{example}{stat.st_size}{stat.st_mtime_ns}".encode())
    if index.copies:
        digest.update(f"{MIXING}{sorted(index.copies.items())}".encode())
        for sound in surroundings.sounds_of(index.copies):
            stat = sound.path.stat()
            digest.update(f"{stat.st_size}{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Division:
    """A corpus in shares, each for any process to compute. What is read one after the other is in one share."""

    index: CorpusIndex
    data: DataConfig
    shares: int
    parts: Mapping[str, Sequence[Example]]
    """The splits, with each example as often as there are copies of it, and the noise."""
    reading: Mapping[str, np.ndarray]
    """Rows of each part in the order in which they are read, so that a recording is decoded once, and again only where two
    shares meet in it."""

    @classmethod
    def of(cls, index: CorpusIndex, data: DataConfig, shares: int) -> Division:
        parts = _parts(index, data)
        reading = {name: np.array(sorted(range(len(of)), key=lambda row: of[row].order), int) for name, of in parts.items()}
        return cls(index, data, shares, parts, reading)

    def rows(self, part: str, share: int) -> np.ndarray:
        """Of one share, in the order in which they are read and their frames lie in its file."""
        first, last = (len(self.reading[part]) * (share + i) // self.shares for i in (0, 1))
        return self.reading[part][first:last]

    def size(self, share: int) -> int:
        """Examples of one share."""
        return sum(len(self.rows(part, share)) for part in self.parts)


@dataclass(frozen=True)
class BadFile:
    """An example that cannot be used."""

    part: str
    row: int
    problem: Problem


@dataclass(frozen=True)
class Share:
    """What one process has computed."""

    path: Path
    sha256: bytes
    """Of the file, which holds the frames of this share's rows of each part, float16, one part after the other."""
    bad: tuple[BadFile, ...] = ()
    odd: tuple[Problem, ...] = ()
    """What recordings have that users should know of, though they are used."""
    bad_sounds: tuple[Problem, ...] = ()
    """Noise and rooms that cannot be used; others were, in their place."""


def extract(path: Path, division: Division, config: FilterBank, share: int, step: Callable[[], None] = lambda: None) -> Share:
    """Compute one share into a file of its own; ``step`` is called after each example."""
    bad: list[BadFile] = []
    odd: list[Problem] = []
    index, data, digest = division.index, division.data, hashlib.sha256()
    reader = audio.Reader(lambda path, what: odd.append(problems.odd(path, what)))
    earlier = audio.Reader(lambda path, what: None)  # of others' recordings, which say themselves what is odd in them
    with open(path, "wb") as file, reader, earlier, Mixer() as mixer:
        for name, examples in division.parts.items():
            copies = index.copies_of(name)
            for row in division.rows(name, share).tolist():
                example = examples[row]
                length_s = example.length_s or data.window_s
                try:
                    spoken_s = example.spoken_s or length_s  # what lies behind it may be another example
                    samples = reader.read(example.source, example.start_s, spoken_s) * np.float32(example.gain)
                except DataError as error:
                    bad.append(BadFile(name, row, problems.of(example.path, error)))
                    samples = np.zeros(1, np.float32)
                before = _heard_before(row, examples, earlier) if name == "train" and config.remembers else None
                if conditions := copies[row % len(copies)]:
                    if not example.spoken_s:  # what pads it counts, and is heard in them too
                        samples = audio.fitted(samples, round(length_s * audio.RATE))
                    key = key_for(example, row % len(copies))
                    samples = mixer.heard(samples, conditions, key) if samples.any() else samples
                    before = mixer.heard(before, conditions, key) if before is not None and before.any() else before
                if name == NOISE:  # a shorter one is repeated: no silence between
                    samples = np.resize(samples, round(length_s * audio.RATE))
                samples = audio.fitted(samples, round(length_s * audio.RATE))
                frames = log_mel(samples, config, before).T.astype(np.float16).tobytes()
                file.write(frames)
                digest.update(frames)
                step()
    return Share(path, digest.digest(), tuple(bad), (*odd, *mixer.odd), tuple(mixer.bad))


def _heard_before(row: int, examples: Sequence[Example], reader: audio.Reader) -> np.ndarray | None:
    """What a bank that remembers heard before a training example: nothing in half of them, as when a device is switched on, and
    in the others the beginning of another example, as when it has been on. Which, a number decides that depends on the row.

    Models that learnt from fresh beginnings alone lose a fifth of their accuracy where audio goes on; see docs/figures.md.
    """
    drawn = share_of(f"{row} of {len(examples)}, before")
    if drawn < 0.5:
        return None
    other = examples[int((2 * drawn - 1) * len(examples))]
    with suppress(DataError):  # its own row tells of it
        return reader.read(other.source, other.start_s, min(BEFORE_S, other.spoken_s or BEFORE_S)) * np.float32(other.gain)
    return None


def assemble(path: Path, division: Division, config: FilterBank, shares: Sequence[Share]) -> None:
    """Write the whole file: one process, with all shares in their order.

    Raises:
        DataError: for recordings that cannot be used, unless these are left out, and for a share that is not as it was written.
    """
    bad = [one for share in shares for one in share.bad]
    on_bad_file = division.data.on_bad_file
    said = (
        problems.settled([*dict.fromkeys(one.problem for one in bad)], on_bad_file),
        problems.settled(sorted({one for share in shares for one in share.bad_sounds}, key=str), on_bad_file),
        problems.remarks([one for share in shares for one in share.odd]),
    )
    _lay_out(path, division, config, bad, [line for line in said if line])
    edges = {}
    for name in division.parts:
        offset, starts, total = _place(path, name)
        edges[name] = 2 * config.bands * np.append(starts, total) + offset
    with open(path, "r+b") as whole:
        for number, share in enumerate(shares):
            digest = hashlib.sha256()
            with open(share.path, "rb") as file:
                for name, places in edges.items():
                    for first, last in _runs(division.rows(name, number)):
                        begin, end = int(places[first]), int(places[last + 1])
                        whole.seek(begin)
                        while begin < end and (chunk := file.read(min(_CHUNK, end - begin))):
                            digest.update(chunk)
                            begin += whole.write(chunk)
                digest.update(file.read(1))  # there must be no more
            if digest.digest() != share.sha256:
                raise DataError(f"{share.path}: is not as it was written; is the file system of data.cache sound?")


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last of rows that follow each other: one piece in both files."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1])


def _lay_out(path: Path, division: Division, config: FilterBank, bad: Sequence[BadFile], remarks: Sequence[str]) -> None:
    """The file with everything but the frames."""
    index, data = division.index, division.data
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        for name, examples in division.parts.items():
            lengths = np.array([frames_of(example.length_s or data.window_s, config) for example in examples], np.int64)
            group = file.create_group(name)
            _allocate(group, "frames", (int(lengths.sum()), config.bands))
            spoken = [frames_of(e.spoken_s, config) if e.spoken_s else int(n) for e, n in zip(examples, lengths)]
            group["lengths"], group["starts"] = lengths, np.cumsum(lengths) - lengths
            group["spoken"] = np.array(spoken, np.int64).clip(1, lengths)
            group["labels"] = np.array([example.label for example in examples], np.int64)
            usable = np.ones(len(examples), bool)
            usable[[one.row for one in bad if one.part == name]] = False
            group["usable"] = usable
            group.attrs["copies"] = len(index.copies_of(name))
        file["remarks"] = np.array(remarks, h5py.string_dtype())
        file.attrs["format"] = FORMAT
        file.attrs["class_names"] = list(index.class_names)
        file.attrs["config"] = json.dumps(asdict(config))


@dataclass(frozen=True)
class Recordings:
    """Log-mel of many recordings of any length; the frames are mapped."""

    frames: np.ndarray
    """(T, F) of all of them."""
    starts: np.ndarray
    """(N,) first frame of each."""
    lengths: np.ndarray
    """(N,) frames of each."""
    spoken: np.ndarray
    """(N,) frames of each before its padding."""
    labels: np.ndarray
    """(N,)."""
    copies: np.ndarray
    """(N, C) first frame of each copy, of which the first is ``starts``; all have the same length."""
    rows: np.ndarray
    """(N,) its number among the examples of its part, of which some may not be usable."""


@dataclass(frozen=True)
class Features:
    """A finished feature file."""

    parts: dict[str, Recordings]
    """The splits, and ``noise``."""
    class_names: tuple[str, ...]
    remarks: tuple[str, ...]
    """A line each."""


def load(path: Path) -> Features:
    parts = {}
    with h5py.File(path, "r", locking=False) as file:
        names = tuple(map(str, file.attrs["class_names"]))
        remarks = tuple(file["remarks"].asstr()[:])
        for name in (*SPLITS, NOISE):
            group = file[name]
            times = int(group.attrs.get("copies", 1))
            usable = group["usable"][::times]
            keys = ("starts", "lengths", "spoken", "labels")
            starts, lengths, spoken, labels = (group[key][::times][usable] for key in keys)
            copies = group["starts"][:].reshape(-1, times)[usable]
            frames, rows = _mapped(path, f"{name}/frames"), np.flatnonzero(usable)
            parts[name] = Recordings(frames, starts, lengths, spoken, labels, copies, rows)
    return Features(parts, names, remarks)


def _parts(index: CorpusIndex, data: DataConfig) -> dict[str, Sequence[Example]]:
    stretch_s = noise_stretch_s(data)
    noise = [
        Example(part.path, part.label, part.start_s + start, stretch_s, min(stretch_s, part.length_s - start))
        for part in index.noise
        for start in np.arange(0, max(1e-3, part.length_s - stretch_s / 2), stretch_s).tolist()
    ]
    return {**{split: _repeated(index.splits[split], len(index.copies_of(split))) for split in SPLITS}, NOISE: noise}


def _repeated(examples: Sequence[Example], times: int) -> Sequence[Example]:
    """Each so often, one after the other."""
    return examples if times == 1 else [example for example in examples for _ in range(times)]


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...]) -> None:
    """A contiguous float16 dataset whose bytes exist in the file at once, so that frames can be copied to their places."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_obj_track_times(False)  # equal features make equal files
    kind = h5py.h5t.py_create(np.dtype(np.float16))
    h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(shape), properties)


def _place(path: Path, part: str) -> tuple[int, np.ndarray, int]:
    """Where the frames of a part begin in the file, the first frame of each example, and how many there are."""
    offset, (total, _) = _location(path, f"{part}/frames")
    with h5py.File(path, "r", locking=False) as file:
        return offset, file[part]["starts"][:], total


def _location(path: Path, name: str) -> tuple[int, tuple[int, ...]]:
    with h5py.File(path, "r", locking=False) as file:
        return file[name].id.get_offset() or 0, file[name].shape


def _mapped(path: Path, name: str) -> np.ndarray:
    offset, shape = _location(path, name)
    if 0 in shape:
        return np.zeros(shape, np.float16)
    return np.memmap(path, np.float16, "r", offset, shape)
