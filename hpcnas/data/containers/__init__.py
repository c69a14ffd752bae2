"""Where in an audio file its samples lie, and whether what its headers tell of that is so.

libsndfile trusts sizes that recorders write wrongly or never come back to, shortens a recording that was cut off without a
word, and stops behind the first of several in one file. Here the headers alone are followed, nothing is decoded: a length that
one tells is a hint, the next header and the end of the file decide. The answer is a file in pieces, each of which libsndfile
reads as a file of its own, where need be behind a corrected header.
"""

from __future__ import annotations

from typing import BinaryIO

from hpcnas.data.containers import chunks, mpeg, ogg, plain
from hpcnas.data.containers.pieces import CHAIN, Contents, Piece, at, id3_end


def followed(file: BinaryIO, size: int) -> Contents:
    """The contents of a file of ``size`` bytes, just opened; of a kind that is not known here: all of it, as it is.

    Raises:
        DataError: with a reason but no name, for a file that was cut off, is damaged, or holds what nobody decodes here.
    """
    if chunks.plain_length_s(file.read(44), size):
        return Contents((Piece(0, size),))
    start = id3_end(file, 0)
    head = at(file, start, 16)
    if head[:4] == ogg.MAGIC:
        return ogg.followed(file, start, size)
    if mpeg.is_frame(head[:4]) or (not _read(head) and (start or not any(head))):
        return mpeg.followed(file, start, size)
    pieces: list[Piece] = []
    remarks: dict[str, None] = {}
    while start < size and (read := _read(at(file, start, 16))):
        contents, start = read(file, start, size)
        pieces += contents.pieces
        remarks.update(dict.fromkeys(contents.remarks))
    if len(pieces) > 1:
        remarks[CHAIN] = None
    return Contents(tuple(pieces) or (Piece(0, size),), tuple(remarks))


def _read(head: bytes):
    """What follows a file that begins so and says where it ends, if that is known."""
    return chunks.followed if chunks.knows(head) else plain.reader(head)
