"""A file in pieces that libsndfile reads as files of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

CUT = "ends before its header says; replace or remove it"
DAMAGED = "is damaged in its middle; replace or remove it"
NO_SAMPLES = "ends before its samples begin; replace or remove it"

CHAIN = "several recordings one after the other, read as one"
UNFINISHED = "a header that was never finished, read to the end"
WRONG_SIZE = "a header that tells a wrong size, read to the end"
LONGER = "more samples than the header tells, all are read"
UNTOLD = "variable bit rate and no header that tells the length, read to the end"

PADDING = 4096
"""So many bytes of no meaning may lie behind the samples: some programs fill a block."""


@dataclass(frozen=True)
class Piece:
    """``head``, then the bytes of the file from ``start`` to ``end``."""

    start: int
    end: int
    head: bytes = b""
    frames: int | None = None
    """Samples of each channel that must come, where it is not what libsndfile expects."""


@dataclass(frozen=True)
class Contents:
    """What is to be read of a file."""

    pieces: tuple[Piece, ...]
    """At least one."""
    remarks: tuple[str, ...] = ()
    """What users should hear of it: what it has."""


def at(file: BinaryIO, position: int, count: int) -> bytes:
    """So many bytes, or fewer at the end of the file."""
    file.seek(position)
    return file.read(count)


def id3_end(file: BinaryIO, position: int) -> int:
    """Where ID3v2 tags end that may stand at ``position``: programs put them in front of anything."""
    while (tag := at(file, position, 10))[:3] == b"ID3" and len(tag) == 10 and max(tag[6:]) < 0x80:
        body = sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
        position += 10 + body + (10 if tag[5] & 0x10 else 0)
    return position


def contains(file: BinaryIO, start: int, end: int, mark: bytes) -> bool:
    """Whether ``mark`` stands somewhere there."""
    kept = b""
    while chunk := at(file, start, min(1 << 20, end - start)):
        if mark in kept + chunk:
            return True
        kept, start = chunk[1 - len(mark) :], start + len(chunk)
    return False
