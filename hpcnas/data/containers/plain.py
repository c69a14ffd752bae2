"""Containers of a header and samples: AU, NIST SPHERE, FLAC."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from hpcnas.core.errors import DataError
from hpcnas.data.containers.pieces import CUT, LONGER, NO_SAMPLES, PADDING, UNFINISHED, WRONG_SIZE, Contents, Piece, at

_STREAMINFO = 42
"""Bytes of FLAC's first block with what stands before it."""


def reader(head: bytes) -> Callable[[BinaryIO, int, int], tuple[Contents, int]] | None:
    """What follows a file that begins so: the recording at a position in a file of a size, and where it ends."""
    if head[:4] in (b".snd", b"dns."):
        return _au
    if head[:7] == b"NIST_1A":
        return _sphere
    return _flac if head[:4] == b"fLaC" else None


def _au(file: BinaryIO, start: int, size: int) -> tuple[Contents, int]:
    raw = at(file, start, 12)
    if len(raw) < 12:
        raise DataError(NO_SAMPLES)
    order = ">" if raw[:1] == b"." else "<"
    offset, told = struct.unpack(order + "II", raw[4:])
    if offset < 24:
        raise DataError(NO_SAMPLES)
    end = start + offset + told
    if told == 0xFFFFFFFF or end == size:
        return Contents((Piece(start, size),)), size
    if end < size and at(file, end, 4) == raw[:4]:
        return Contents((Piece(start, end),)), end
    if end > size and told not in (size - start, size - start - 8):
        raise DataError(CUT)
    remark = WRONG_SIZE if end > size else LONGER if told else UNFINISHED
    head = bytearray(at(file, start, offset))
    struct.pack_into(order + "I", head, 8, min(size - start - offset, 0xFFFFFFFF))
    return Contents((Piece(start + offset, size, bytes(head)),), (remark,)), size


def _sphere(file: BinaryIO, start: int, size: int) -> tuple[Contents, int]:
    """NIST SPHERE: lines of ``name -type value``."""
    lines = at(file, start, 1024).decode("latin-1").split("\n")
    fields = {words[0]: words[2] for words in map(str.split, lines) if len(words) == 3}
    try:
        end = start + int(lines[1])
        end += int(fields["sample_count"]) * int(fields.get("channel_count", 1)) * int(fields["sample_n_bytes"])
    except (KeyError, ValueError, IndexError):
        raise DataError("has a SPHERE header that does not tell its length; convert it") from None
    if end > size:
        raise DataError(CUT)
    if at(file, end, 7) == b"NIST_1A":
        return Contents((Piece(start, end),)), end
    if size - end > PADDING:
        raise DataError("holds more samples than its header tells; convert it")
    return Contents((Piece(start, size),)), size


def _flac(file: BinaryIO, start: int, size: int) -> tuple[Contents, int]:
    """The header is made to leave the number of samples open, so that libFLAC decodes on to the end, which tells."""
    head = at(file, start, _STREAMINFO)
    if len(head) < _STREAMINFO:
        raise DataError(NO_SAMPLES)
    told = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    if at(file, size - 128, 3) == b"TAG":  # ID3v1
        size -= 128
    opened = head[:21] + bytes([head[21] & 0xF0]) + bytes(4) + head[26:]
    return Contents((Piece(start + _STREAMINFO, size, opened, told or None),)), size
