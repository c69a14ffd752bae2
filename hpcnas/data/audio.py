"""Reading audio: whole recordings or stretches of them, at one rate, in one channel.

libsndfile decodes and soxr resamples; ``containers`` has looked before at what is there to be decoded, and what comes is
compared with it: a recording is read to its end, or refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from hpcnas.core.errors import DataError
from hpcnas.data import containers
from hpcnas.data.containers.chunks import plain_length_s
from hpcnas.data.containers.pieces import Piece, at, contains
from hpcnas.data.inside import Bytes, Cell, Source, opened, path_of, size_of

logger = logging.getLogger(__name__)

RATE = 16000
"""Samples a second after reading; the field's standard for keyword spotting and language identification."""
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
"""Of files that are looked for in folders."""
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "NIST", "HTK")
"""libsndfile reads more, but of those it cannot be told whether they are whole."""
LOUD = 8.0
"""Full scale is 1. Recordings in floats may exceed it a little; at 18 dB above, the numbers mean something else."""
TOO_LOUD = "samples far above full scale, such as integers stored as floats"

_BLOCK = 1 << 18
"""Samples of each channel that are decoded at once."""
_UNTOLD = 1 << 62
"""More samples than this stand for a number that is not known."""
_NONE = np.zeros(0, np.float32)
_EXACT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "ALAC_", "VORBIS", "OPUS")
"""Encodings in which libsndfile jumps to the very sample. In others all before it is decoded: MPEG audio of variable bit rate
lands elsewhere, GSM and others know no jumps."""
_RUN_UP_S = {"OPUS": 10.0}
"""Decoders that remember need so much to give what they do from the beginning (after 1 s they differed by 0.001 at most)."""

Remark = Callable[[Path, str], None]
"""Hears what a recording has that users should know of, though it is read."""


def warn(path: Path, what: str) -> None:
    logger.warning("%s: has %s", path, what)


def read(source: Source, start_s: float = 0.0, length_s: float | None = None, remark: Remark = warn) -> np.ndarray:
    """Mono samples in [-1, 1] at ``RATE``, from ``start_s`` for at most ``length_s``; raises DataError."""
    return Reader(remark).read(source, start_s, length_s)


def stream(source: Source, block_s: float = 10.0, remark: Remark = warn) -> Iterator[np.ndarray]:
    """What ``read`` gives, block by block of about ``block_s`` seconds, in memory that does not grow with the recording.

    Raises:
        DataError: at the first block, or where a recording turns out to be damaged.
    """
    with closing(_Decoding(_as_source(source), remark)) as decoding:
        rate = decoding.rate
        resampler = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        while len(mono := decoding.take(max(1, round(block_s * rate)))):
            mono = resampler.resample_chunk(mono) if resampler else mono
            if len(mono):
                yield mono
        if resampler and len(rest := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
            yield rest


def duration_s(source: Source) -> float:
    """Length of a recording in seconds, from its headers; raises DataError."""
    return length(source)[0]


def length(source: Source) -> tuple[float, int]:
    """The same, and the rate in samples a second."""
    with suppress(OSError), opened(source) as file:
        if length_s := plain_length_s(head := file.read(44), size_of(source)):
            return length_s, int.from_bytes(head[24:28], "little")
    with closing(_Decoding(_as_source(source), lambda path, what: None)) as decoding:
        return decoding.frames() / decoding.rate, decoding.rate


class Reader:
    """Reads stretches. Those of one recording, in ascending order, cost one decoding of it also where jumps are not exact."""

    def __init__(self, remark: Remark = warn, channel: int | None = None) -> None:
        """``channel``: the one that is read; None: the mean of all."""
        self._remark, self._channel = remark, channel
        self._kept: _Decoding | None = None

    def read(self, source: Source, start_s: float = 0.0, length_s: float | None = None) -> np.ndarray:
        """As the function of this name."""
        source, decoding = _as_source(source), self._kept
        if decoding is None or decoding.source != source or round(start_s * decoding.rate) < decoding.position:
            self.close()
            decoding = _Decoding(source, self._remark, self._channel)
        self._kept = decoding
        try:
            start = round(start_s * decoding.rate)
            count = None if length_s is None else round(length_s * decoding.rate)
            decoding.skip_to(start, None if count is None else start + count)
            samples = decoding.take(count)
        except DataError:
            self.close()
            raise
        if not decoding.is_worth_keeping:
            self.close()
        return samples if decoding.rate == RATE else soxr.resample(samples, decoding.rate, RATE).astype(np.float32, copy=False)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Decoding:
    """Samples of a recording, mono and at its own rate, one after the other. All that it raises is DataError with its name."""

    def __init__(self, source: Path | Bytes | Cell, remark: Remark, channel: int | None = None) -> None:
        self.source, self.path, self.rate, self._channel = source, path_of(source), 0, channel
        self.position = 0
        """Samples that were given or left out."""
        self._remark, self._is_loud = remark, False
        self._sound: _Forward | None = None
        with self._naming():
            self._file = opened(source)
        try:
            with self._naming():
                self._size = self._file.seek(0, os.SEEK_END)
                self._file.seek(0)
                contents = containers.followed(self._file, self._size)
                self._pieces = iter(contents.pieces)
                self._open_next()
        except DataError:
            self.close()
            raise
        for what in contents.remarks:
            remark(self.path, what)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a later stretch would cost all that was decoded."""
        return self._sound is not None and not self._sound.jumps

    def frames(self) -> int:
        """Samples of the rest of the recording."""
        with self._naming():
            while self._sound is not None:
                if self._expected is None:  # nothing tells
                    while count := len(self._decoded(_BLOCK)):
                        self.position += count
                else:
                    self.position += self._expected - self._seen
                self._open_next()
        return self.position

    def skip_to(self, position: int, end: int | None) -> None:
        """Leave out what is before ``position``; up to ``end`` will be taken."""
        with self._naming():
            while self._sound is not None and self.position < position:
                missing = position - self.position
                left = None if self._expected is None else self._expected - self._seen
                if left is not None and missing >= left:
                    self.position += left
                    self._open_next()
                    continue
                # What is behind the number of samples that FLAC's header tells shows only if all is decoded.
                is_inside = left is not None and end is not None and end - self.position < left
                if self._sound.jumps and self._seen == 0 and (is_inside or not self._is_open):
                    self._jump(missing)
                elif not (count := len(self._decoded(min(missing, _BLOCK)))):
                    self._open_next()
                else:
                    self.position += count

    def take(self, count: int | None) -> np.ndarray:
        """The next samples, as many as there are if ``count`` is None, fewer only at the end."""
        blocks: list[np.ndarray] = []
        with self._naming():
            while self._sound is not None and count != 0:
                block = self._decoded(_BLOCK if count is None else min(_BLOCK, count))
                if not len(block):
                    self._open_next()
                    continue
                blocks.append(block)
                self.position += len(block)
                count = None if count is None else count - len(block)
            if self._sound is not None and self._is_open and self._seen == self._expected:
                self._decoded(1)
        return blocks[0] if len(blocks) == 1 else np.concatenate([_NONE, *blocks])

    def close(self) -> None:
        if self._sound is not None:
            self._sound.close()
        self._sound = None
        self._file.close()

    def _open_next(self) -> None:
        """Go on to the next piece that has samples, if there is one."""
        self._expected: int | None = 0
        while self._expected == 0:
            if self._sound is not None:
                self._sound.close()
                self._sound = None
            if (piece := next(self._pieces, None)) is None:
                if not self.position:
                    raise DataError("holds no samples; remove it from the corpus")
                return
            self._open(piece)

    def _open(self, piece: Piece) -> None:
        if piece == Piece(0, self._size) and isinstance(self.source, Path):
            os.lseek(self._file.fileno(), 0, os.SEEK_SET)
            self._sound = sound = _Forward(self._file.fileno(), closefd=False)
        else:
            self._sound = sound = _Forward(_Section(self._file, piece))
        if sound.format not in FORMATS:
            raise DataError(f"is a {sound.format} file, of which it cannot be told whether it is whole; convert it")
        if sound.format == "MP3" and not piece.head:
            raise DataError("is MPEG audio whose frames cannot be counted; convert it")
        if self.rate not in (0, sound.samplerate):
            raise DataError("holds recordings of several rates one after the other; divide it")
        self.rate, self._piece, self._seen = sound.samplerate, piece, 0
        self._is_open = sound.frames > _UNTOLD
        self._expected = piece.frames or (None if self._is_open else sound.frames)

    def _jump(self, position: int) -> None:
        """Go on at a position in a piece that was just opened."""
        assert self._sound is not None
        if self._is_open:  # libFLAC finds its way with the header as it was
            self._sound.close()
            self._sound = _Forward(_Section(self._file, Piece(self._piece.start - len(self._piece.head), self._piece.end)))
            self._is_open = False
        self._seen = max(0, position - round(_RUN_UP_S.get(self._sound.subtype, 0) * self.rate))
        self._sound.seek(self._seen)
        if self._seen < position:
            self._decoded(position - self._seen)
        self.position += position

    def _decoded(self, count: int) -> np.ndarray:
        """The next samples of this piece, at most so many; none at its end."""
        assert self._sound is not None
        left = None if self._expected is None else self._expected - self._seen
        if left == 0 and not self._is_open:
            return _NONE
        count = count if left is None else min(count, left or 1)
        try:
            samples = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if left != 0:
                raise DataError(f"cannot be read as audio to its end ({_reason(error)}); replace or remove it") from error
            if contains(self._file, self._piece.start, self._piece.end, b"fLaC"):
                raise DataError("holds several FLAC streams one after the other; convert it") from error
            return _NONE  # what follows is no audio
        self._seen += len(samples)
        if left == 0 and len(samples):
            raise DataError("holds more samples than its header tells; convert it")
        if left and not len(samples):
            raise DataError("gives fewer samples than its headers tell; replace or remove it")
        if not len(samples):
            return _NONE
        only = 0 if samples.shape[1] == 1 else self._channel
        mono = samples.mean(axis=1) if only is None else samples[:, only]
        peak = max(-mono.min(), mono.max())
        if not np.isfinite(peak):
            raise DataError("holds samples that are not finite; replace or remove it")
        if peak > LOUD and not self._is_loud:
            self._is_loud = True
            self._remark(self.path, TOO_LOUD)
        return mono

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from error
        except soundfile.LibsndfileError as error:
            raise DataError(f"{self.path}: cannot be read as audio ({_reason(error)}); replace or remove it") from error
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read as audio ({error.strerror}); replace or remove it") from error


class _Forward(soundfile.SoundFile):
    """Reads block after block. ``SoundFile`` jumps to where it is after each, which decoders with a memory do not survive."""

    jumps = False
    """Whether ``seek`` is exact to the sample."""

    def __init__(self, file: int | _Section, closefd: bool = True) -> None:
        super().__init__(file, closefd=closefd)
        self.jumps = super().seekable() and self.subtype.startswith(_EXACT)

    def seekable(self) -> bool:
        return False


class _Section:
    """A piece as a file of its own, to be read."""

    def __init__(self, file: BinaryIO, piece: Piece) -> None:
        self._file, self._piece, self._position = file, piece, 0
        self._size = len(piece.head) + piece.end - piece.start

    def readinto(self, buffer: memoryview) -> int:
        head, done = self._piece.head, 0
        count = max(0, min(len(buffer), self._size - self._position))
        if self._position < len(head):
            done = min(count, len(head) - self._position)
            buffer[:done] = head[self._position : self._position + done]
        if done < count:
            got = at(self._file, self._piece.start + self._position + done - len(head), count - done)
            buffer[done : done + len(got)] = got
            done += len(got)
        self._position += done
        return done

    def read(self, count: int) -> bytes:
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position


def _as_source(source: Source) -> Path | Bytes | Cell:
    return Path(source) if isinstance(source, str) else source


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".").removeprefix("Error : ")


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Exactly ``length`` samples: the start of a longer stretch, a shorter one padded with zeros at its end."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
