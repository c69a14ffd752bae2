"""WAV, RF64, Wave64, AIFF and CAF: chunks with a name and a size, one of which holds the samples.

Sources: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); RFC 2361 (encodings); EBU Tech
3306 (RF64); Apple's AIFF-C and Core Audio Format specifications; Sony's Wave64 1.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

from hpcnas.core.errors import DataError
from hpcnas.data.containers import mpeg
from hpcnas.data.containers.pieces import (
    CUT,
    DAMAGED,
    LONGER,
    NO_SAMPLES,
    PADDING,
    UNFINISHED,
    WRONG_SIZE,
    Contents,
    Piece,
    at,
)


@dataclass(frozen=True)
class _Grammar:
    """How a container writes its chunks."""

    first: int
    """Where the first chunk begins."""
    name_size: int
    size: str
    """The size behind the name, in the words of ``struct``."""
    counted: int
    """Bytes of a chunk's name and size that its size counts too."""
    step: int
    """Chunks begin at multiples of it."""
    samples: bytes
    """Name of the chunk with the samples."""
    whole: int | None
    """Where the size of everything stands, if anywhere."""
    unknown: int
    """This size and all above are put where one is not known, as into a pipe."""

    @property
    def head(self) -> int:
        """Bytes of a chunk's name and size."""
        return self.name_size + struct.calcsize(self.size)

    def chunk(self, file: BinaryIO, position: int) -> tuple[bytes, int] | None:
        """Name, and bytes behind name and size; None at the end of the file."""
        raw = at(file, position, self.head)
        if len(raw) < self.head:
            return None
        return raw[: self.name_size], struct.unpack(self.size, raw[self.name_size :])[0] - self.counted

    def behind(self, position: int, body: int) -> int:
        """Where the chunk begins that follows the one at ``position``."""
        return position + self.head + -(-body // self.step) * self.step


_WAV = _Grammar(first=12, name_size=4, size="<I", counted=0, step=2, samples=b"data", whole=4, unknown=0x7FFF0000)
_CAF = _Grammar(first=8, name_size=4, size=">q", counted=0, step=1, samples=b"data", whole=None, unknown=1 << 62)
_WAVE64 = _Grammar(
    first=40, name_size=16, size="<q", counted=24, step=8, whole=16, unknown=1 << 62,
    samples=b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a"),
)  # fmt: skip
_GRAMMARS = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"BW64": _WAV,
    b"RIFX": replace(_WAV, size=">I"),
    b"FORM": replace(_WAV, size=">I", samples=b"SSND"),
    b"caff": _CAF,
    b"riff": _WAVE64,
}
_FORMS = {b"FORM": (b"AIFF", b"AIFC"), b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",)}
"""What else may be written in the same chunks: pictures, films, and sounds of other kinds."""
_MPEG = (0x50, 0x55)
_DECODED = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x38, 0x40, *_MPEG, 0xFFFE)
"""Tags of encodings that libsndfile knows; the last: one of them, which stands elsewhere."""
_NAMES = {0x22: "TrueSpeech", 0xFF: "AAC", 0x160: "WMA", 0x161: "WMA", 0x1610: "AAC", 0x2000: "AC-3", 0xF1AC: "FLAC"}
_AIFC = (
    *(b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"42ni", b"in32", b"23ni", b"fl32", b"FL32", b"fl64", b"FL64"),
    *(b"ulaw", b"ULAW", b"alaw", b"ALAW", b"ima4"),
)
"""Encodings of AIFF whose number of samples follows from their bytes."""
_LEAST_PADDING = 16
"""Fewer zeros may well be samples."""
_METADATA = (b"LIST", b"list", b"id3 ", b"ID3 ", b"bext", b"iXML", b"fact", b"cue ", b"smpl", b"PEAK", b"JUNK", b"_PMX")
"""Chunks that are believed to be some even where they do not fit into the file."""


def plain_length_s(head: bytes, size: int) -> float | None:
    """Seconds of a file that is WAV as nearly all is: a short header that is right, samples, and nothing else; else None.

    Args:
        head: the first 44 bytes.
    """
    if len(head) < 44 or head[:4] != b"RIFF" or head[8:22] != b"WAVEfmt \x10\0\0\0\x01\0" or head[36:40] != b"data":
        return None
    channels, rate, _, step, bits, told = struct.unpack("<HIIHH4xI", head[22:])
    is_right = 0 < told == size - 44 and channels and rate and bits in (8, 16, 24, 32) and step == channels * bits // 8
    return told // step / rate if is_right else None


def knows(head: bytes) -> bool:
    return head[:4] in _GRAMMARS and head[8:12] in _FORMS.get(head[:4], (head[8:12],))


def followed(file: BinaryIO, start: int, size: int) -> tuple[Contents, int]:
    """The recording at ``start``, and where it ends."""
    grammar = _GRAMMARS[at(file, start, 4)]
    position, wide, encoding, has_packets = start + grammar.first, None, 1, False
    while (chunk := grammar.chunk(file, position)) and chunk[0] != grammar.samples:
        name, body = chunk
        if body < 0:
            raise DataError(DAMAGED)
        if name == b"ds64" and body >= 24:  # the sizes of RF64
            wide = position + grammar.head
        elif name[:4] == b"fmt ":
            encoding = int.from_bytes(at(file, position + grammar.head, 2), "big" if ">" in grammar.size else "little")
        elif name == b"desc" and at(file, position + grammar.head + 8, 4) == b"alac":
            has_packets = True
        elif name == b"COMM" and at(file, start + 8, 4) == b"AIFC":
            kind = at(file, position + grammar.head + 18, 4)
            if kind not in _AIFC:
                raise DataError(f"is AIFF with encoding {kind.decode('latin-1')!r}, which is not decoded; convert it")
        position = grammar.behind(position, body)
    if chunk is None:
        raise DataError(NO_SAMPLES)
    if encoding not in _DECODED:
        called = _NAMES.get(encoding, "of no known name")
        raise DataError(f"is WAV with encoding 0x{encoding:04x} ({called}), which is not decoded; convert it")
    samples, told = position + grammar.head, chunk[1]
    if wide is not None and told == 0xFFFFFFFF:
        told = struct.unpack("<q", at(file, wide + 8, 8))[0]
    if grammar.counted:
        told = max(0, told)
    is_told = 0 <= told < (grammar.unknown if wide is None else 1 << 62)
    end, behind, remark = size, size, ""
    if is_told and told > size - samples:
        # They are all there if the size of everything says so, or if the header was counted with them.
        if not _ends_there(file, start, size, grammar, wide) and told not in (size - start, size - start - 8):
            raise DataError(CUT)
        remark = WRONG_SIZE
    elif is_told:
        tail = _tail(file, start, samples + told, size, grammar)
        if tail is None:
            remark = LONGER if told else UNFINISHED
        else:
            end, behind = samples + told, tail
    if remark and has_packets:  # they are listed elsewhere, and that has no end either
        raise DataError("has a header that tells a wrong size; convert it")
    remarks = (remark,) if remark else ()
    if encoding in _MPEG:
        inner = mpeg.followed(file, samples, end)
        return replace(inner, remarks=(*remarks, *inner.remarks)), behind
    if not remark and is_told:
        return Contents((Piece(start, behind),)), behind
    head = bytearray(at(file, start, samples - start))
    _put(head, position - start + grammar.name_size, grammar.size, end - samples + grammar.counted)
    if grammar.whole is not None:
        _put(head, grammar.whole, grammar.size, end - start - (0 if grammar.counted else 8))
    if wide is not None:
        _put(head, wide - start, "<q", end - start - 8)
        _put(head, wide - start + 8, "<q", end - samples)
    return Contents((Piece(samples, end, bytes(head)),), remarks), behind


def _put(head: bytearray, position: int, size: str, value: int) -> None:
    struct.pack_into(size, head, position, min(value, 0xFFFFFFFF) if size[1] == "I" else value)


def _ends_there(file: BinaryIO, start: int, size: int, grammar: _Grammar, wide: int | None) -> bool:
    """Whether the size of everything is the file's."""
    if grammar.whole is None:
        return False
    form, position = (grammar.size, start + grammar.whole) if wide is None else ("<q", wide)
    told = struct.unpack(form, at(file, position, struct.calcsize(form)))[0]
    return start + told + (0 if grammar.counted else 8) == size


def _tail(file: BinaryIO, start: int, end: int, size: int, grammar: _Grammar) -> int | None:
    """Where a recording ends whose samples do at ``end``: chunks follow, padding, or another one; None: something else."""
    if end == size or knows(at(file, end, 16)):
        return end
    position = end + (start - end) % grammar.step
    if any(at(file, end, position - end)[1:]):
        return None
    if at(file, position, 1) == b"\0" and knows(at(file, position + 1, 16)):  # filled up though nothing asks for it
        position += 1
    while position < size:
        head, rest = at(file, position, 16), size - position
        if knows(head) or (head[:3] == b"TAG" and rest == 128):
            return position
        if _LEAST_PADDING <= rest <= PADDING and not any(at(file, position, rest)):
            return size
        if (chunk := grammar.chunk(file, position)) is None:
            return size if rest == 1 else None
        name, body = chunk
        is_name = grammar.name_size == 16 or all(0x20 <= byte < 0x7F for byte in name)
        if not is_name or body < 0 or (position + grammar.head + body > size and name not in _METADATA):
            return None
        if name == grammar.samples and body:
            raise DataError("holds more than one stretch of samples; convert it")
        position = grammar.behind(position, body)
    return size
