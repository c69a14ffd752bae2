"""The lengths of many recordings, several asked for at once: on a file system of a network most of the time is waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from hpcnas.core.errors import DataError
from hpcnas.data import audio
from hpcnas.data.inside import Source
from hpcnas.data.progress import Progress

AT_ONCE = 16
"""Threads. On a warm local disk, where Python itself is what takes time, they neither help nor hurt."""
TOGETHER = 64
"""Recordings that a thread looks at in turn."""

Length = tuple[float, int]
"""Of a recording: seconds, and its rate in samples a second."""


def lengths(sources: Sequence[Source]) -> Iterator[Length | DataError]:
    """Of each recording in order its length, or why it cannot be read."""
    progress = Progress("recordings looked at", len(sources))
    shares = [sources[first : first + TOGETHER] for first in range(0, len(sources), TOGETHER)]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="headers") as pool:
        for found in pool.map(_looked_at, shares):
            yield from found
            progress.step(len(found))


def known(found: Length | DataError) -> Length:
    """What ``lengths`` found; raises why there is none."""
    if isinstance(found, DataError):
        raise found
    return found


def _looked_at(share: Sequence[Source]) -> list[Length | DataError]:
    return [_length(source) for source in share]


def _length(source: Source) -> Length | DataError:
    try:
        return audio.length(source)
    except DataError as error:
        return error
