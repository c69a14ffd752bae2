"""MPEG audio (ISO 11172-3, 13818-3, and 2.5): frames one after the other, and what stands between recordings in one file.

Nothing in such a file tells its length but a frame that encoders may put first (Xing's, whose ``Info`` form LAME writes too, or
Fraunhofer's). libsndfile believes it, and guesses where there is none. Here the frames are counted, and a first frame is made
that tells how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from hpcnas.core.errors import DataError
from hpcnas.data.containers.pieces import CHAIN, CUT, DAMAGED, LONGER, PADDING, UNTOLD, Contents, Piece, at, id3_end

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""By the two bits of the version: MPEG-1, MPEG-2, MPEG-2.5."""
_KBPS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By whether it is MPEG-1, and layer."""
_MARKS = (b"Xing", b"Info")
_TAG = b"ID3\x04" + bytes([0, 0, 0, 0, 0, 16]) + bytes(16)
"""An empty ID3v2 tag: without one libsndfile 1.2.2 opens MPEG audio by name only."""
_LOOK = 64
"""Bytes of each frame that are looked at."""


@dataclass(frozen=True)
class _Frame:
    """What the four bytes at its beginning tell."""

    size: int
    """In bytes, with these."""
    kind: tuple[int, int, int, bool]
    """Version, layer, samples a second, whether it has one channel: the same in all frames of a recording."""
    info: int
    """Where in it a Xing header would stand."""


@lru_cache(4096)
def _frame(head: bytes) -> _Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbps, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbps in (0, 15) or rate == 3:
        return None
    rate, bits = _RATES[version][rate], 1000 * _KBPS[version == 3, layer][kbps - 1]
    padding, mono = head[2] >> 1 & 1, head[3] >> 6 == 3
    if layer == 1:
        size = (12 * bits // rate + padding) * 4
    else:
        size = (72 if layer == 3 and version != 3 else 144) * bits // rate + padding
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(size, (version, layer, rate, mono), 4 + side + (0 if head[1] & 1 else 2))


def is_frame(head: bytes) -> bool:
    """Whether a frame may begin so."""
    return _frame(head) is not None


@dataclass
class _Run:
    """Frames of one recording."""

    start: int
    kind: tuple[int, int, int, bool]
    first: bytes
    """The beginning of its first frame with sound."""
    info: bytes = b""
    """A first frame that tells their number."""
    told: int | None = None
    told_bytes: int = 0
    count: int = 0
    end: int = 0
    varies: bool = False


def followed(file: BinaryIO, start: int, size: int) -> Contents:
    """The recordings in a stretch of a file, each a piece.

    Raises:
        DataError: if a frame is cut off, frames lack, or what is no frame stands between two.
    """
    runs: list[_Run] = []
    position, is_new = _next(file, start, size), True
    if position is None:
        raise DataError("cannot be read as audio (no frames of MPEG audio); replace or remove it")
    while position < size:
        look = at(file, position, _LOOK)
        frame = _frame(look[:4])
        if frame and position + frame.size > size and (not runs or frame.kind == runs[-1].kind):
            raise DataError(CUT)
        if frame is None or position + frame.size > size:
            is_whole = bool(runs) and runs[-1].told is not None and abs(runs[-1].told - runs[-1].count) <= 1
            behind = _between(file, position, size, look, is_whole)
            if behind is None:
                break
            position, is_new = behind, True
            continue
        told = _told(look, frame)
        if is_new or told is not None or frame.kind != runs[-1].kind:
            runs.append(_Run(position, frame.kind, b""))
            is_new = False
        run = runs[-1]
        if told is not None:
            run.info = at(file, position, frame.size)
            run.told, run.told_bytes = told
        else:
            run.first = run.first or look[:4]
            run.varies |= (run.first[2] ^ look[2]) & 0xF0 != 0
            run.count += 1
        position += frame.size
        run.end = position
    runs = [run for run in runs if run.count]
    remarks: dict[str, None] = {CHAIN: None} if len(runs) > 1 else {}
    pieces = [_piece(run, remarks) for run in runs]
    if not pieces:
        raise DataError("holds no samples; remove it from the corpus")
    return Contents(tuple(pieces), tuple(remarks))


def _told(look: bytes, frame: _Frame) -> tuple[int | None, int] | None:
    """Frames and bytes, if this frame is there to tell them; a number that is not known is None or 0."""
    if look[frame.info : frame.info + 4] in _MARKS:
        flags, numbers = look[frame.info + 7], frame.info + 8
        count = int.from_bytes(look[numbers : numbers + 4], "big") if flags & 1 else 0
        numbers += 4 if flags & 1 else 0
        return count or None, int.from_bytes(look[numbers : numbers + 4], "big") if flags & 2 else 0
    if look[36:40] == b"VBRI":
        return int.from_bytes(look[50:54], "big") or None, 0
    return None


def _piece(run: _Run, remarks: dict[str, None]) -> Piece:
    if run.told is None:
        if run.varies:
            remarks[UNTOLD] = None
    # Some encoders count the first frame too.
    elif run.told > run.count + 1 or (run.told > run.count and run.told_bytes > run.end - run.start + 1):
        raise DataError(CUT)
    elif run.told < run.count - 1:
        remarks[LONGER] = None
    start = run.start + len(run.info)
    if run.kind[1] != 3:  # no first frames there: libsndfile's guess is looked at when all is decoded
        return Piece(start, run.end, _TAG, run.count * (384 if run.kind[1] == 1 else 1152))
    return Piece(start, run.end, _TAG + _info_frame(run))


def _info_frame(run: _Run) -> bytes:
    """A frame without sound that tells how many follow. What an encoder's own tells of its delay is kept."""
    frame = _frame(run.info[:4]) if run.info else None
    mark = frame.info if frame else 0
    if mark and run.info[mark : mark + 4] in _MARKS and run.info[mark + 7] & 1:
        told = bytearray(run.info)
        told[mark + 8 : mark + 12] = run.count.to_bytes(4, "big")
        if told[mark + 7] & 2:
            told[mark + 12 : mark + 16] = min(run.end - run.start, 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(told)
    for kbps in range(1, 15):
        head = bytes([run.first[0], run.first[1] | 1, kbps << 4 | run.first[2] & 0x0C, run.first[3]])
        frame = _frame(head)
        if frame and frame.size >= frame.info + 12:
            body = b"Info" + (1).to_bytes(4, "big") + run.count.to_bytes(4, "big")
            return (head + bytes(frame.info - 4) + body).ljust(frame.size, b"\0")
    raise AssertionError("frames of 320 kbit/s hold it")


def _between(file: BinaryIO, position: int, size: int, look: bytes, is_whole: bool) -> int | None:
    """Where frames go on behind a tag or padding; None: nowhere, which is no damage to what ``is_whole``."""
    if look[:3] == b"ID3":
        position = max(position + 10, id3_end(file, position))
    elif look[:3] == b"TAG":
        position += 128
    elif look[:8] == b"APETAGEX":
        position += int.from_bytes(look[12:16], "little") + (32 if look[23] & 0x80 else 0)
    else:
        behind = _next(file, position, size)
        junk = at(file, position, min((behind or size) - position, PADDING + 1))
        if (behind and any(junk)) or (len(junk) > PADDING and not is_whole):
            raise DataError(DAMAGED)
        return behind
    return position if position < size else None


def _next(file: BinaryIO, position: int, size: int) -> int | None:
    """Where the next frame begins that another one, or the end, follows."""
    while chunk := at(file, position, min(1 << 16, size - position)):
        found = chunk.find(0xFF)
        while found >= 0:
            frame = _frame(chunk[found : found + 4] if found + 4 <= len(chunk) else at(file, position + found, 4))
            if frame:
                behind = position + found + frame.size
                after = _frame(at(file, behind, 4))
                if behind == size or (after and after.kind == frame.kind):
                    return position + found
            found = chunk.find(0xFF, found + 1)
        position += len(chunk)
    return None
