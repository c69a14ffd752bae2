"""Ogg pages (RFC 3533): whether a stream is whole, and where in a file one ends and the next begins."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from hpcnas.core.errors import DataError
from hpcnas.data.containers.pieces import CHAIN, CUT, DAMAGED, Contents, Piece, at, contains

MAGIC = b"OggS"
_OTHERS = {b"\x7fFLAC": "FLAC", b"Speex": "Speex"}
"""Beginnings of streams that libsndfile does not decode, or not everywhere."""
_FIRST, _LAST = 0x02, 0x04
"""Flags of a stream's first and last page."""
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def followed(file: BinaryIO, start: int, size: int) -> Contents:
    """The links of a chain, each a piece.

    Raises:
        DataError: for a stream without its last page, or with one that lacks or is damaged.
    """
    links: list[int] = []
    numbers: dict[int, int] = {}
    open_streams: set[int] = set()
    position, between = start, True
    while position < size:
        head = at(file, position, 27)
        if head[:4] != MAGIC or len(head) < 27:
            break
        table = file.read(head[26])
        length = 27 + head[26] + sum(table)
        if position + length > size:
            raise DataError(CUT)
        serial, number = (int.from_bytes(head[i : i + 4], "little") for i in (14, 18))
        if head[5] & _FIRST:
            if not between:  # first pages of streams that run side by side stand together
                _close(open_streams)
                between = True
                numbers.clear()
            if not links or numbers == {}:
                links.append(position)
            open_streams.add(serial)
        else:
            between = False
            if serial in numbers and number != numbers[serial] + 1:
                raise DataError(DAMAGED)
        numbers[serial] = number
        body = file.read(length - 27 - head[26])
        if checksum(head[:22] + bytes(4) + head[26:] + table + body) != head[22:26]:
            raise DataError(DAMAGED)
        if head[5] & _FIRST and (name := _OTHERS.get(body[:5])):
            raise DataError(f"is Ogg with {name}, which is not decoded; convert it")
        if head[5] & _LAST:
            open_streams.discard(serial)
        position += length
    _close(open_streams)
    if contains(file, position, size, MAGIC):  # behind something else
        raise DataError(DAMAGED)
    ends = [*links[1:], position]
    pieces = tuple(Piece(first, end) for first, end in zip(links, ends))
    if len(pieces) == 1 and start == 0:
        pieces = (Piece(0, size),)
    return Contents(pieces, (CHAIN,) if len(pieces) > 1 else ())


def checksum(page: bytes) -> bytes:
    """Of a page whose own checksum is zeros: CRC-32 without mirroring or inversion, so zlib's, mirrored and inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)


def _close(open_streams: set[int]) -> None:
    if open_streams:
        raise DataError(CUT)
