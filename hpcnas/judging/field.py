"""What a keyword model does in audio that goes on: keywords it hears in recordings one after the other, and false alarms in
hours without any. Memory does not grow with the audio but for a few numbers a false alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from hpcnas.core import false_alarms
from hpcnas.core.errors import DataError
from hpcnas.core.false_alarms import Alarms, Heard
from hpcnas.core.spotting import Detection, Spoken, heard
from hpcnas.data import audio, negatives, problems
from hpcnas.data.corpus import CorpusIndex, DataConfig
from hpcnas.data.negatives import Negative
from hpcnas.data.problems import Problem
from hpcnas.nn.corpus import Split
from hpcnas.runtime import threads
from hpcnas.runtime.crew import Crew
from hpcnas.runtime.together import on_every_rank, on_first_rank
from hpcnas.use.classifier import Classifier
from hpcnas.use.hearing import hear, hear_frames, keywords_of


@dataclass(frozen=True, eq=False)
class Field:
    """What was heard of the keywords of a split, and false alarms.

    Args:
        pooled: of all keywords together.
        of_keyword: of each that was spoken, by its number.
        has_negatives: whether false alarms are of ``data.negatives``; else of what is no keyword in the split.
    """

    pooled: Heard
    of_keyword: Mapping[int, Heard]
    has_negatives: bool

    @property
    def hours(self) -> float:
        """Without keywords."""
        return self.pooled.alarms.hours

    @classmethod
    def of(cls, classifier: Classifier, split: Split, alarms: Alarms | None) -> Field:
        """Of a split with keywords and, if ``alarms`` is None, other recordings."""
        found = in_a_row(classifier, split)
        if alarms is None:
            return found
        of_keyword = {k: one.in_other_audio(alarms.of_keyword(k)) for k, one in found.of_keyword.items()}
        return cls(found.pooled.in_other_audio(alarms), of_keyword, True)


def in_a_row(classifier: Classifier, split: Split) -> Field:
    """The split's recordings one after the other in random order."""
    config, frame_s = classifier.config.spotting, classifier.config.features.hop_ms / 1000
    order, keywords = np.random.default_rng(0).permutation(len(split)), keywords_of(classifier)
    log_mel = np.concatenate([split.frames[split.starts[i] : split.starts[i] + split.lengths[i]] for i in order]).T
    ends_s = np.cumsum(split.lengths[order]) * frame_s
    starts_s = ends_s - split.lengths[order] * frame_s
    spoken = [Spoken(int(split.labels[i]), a, b) for i, a, b in zip(order, starts_s, ends_s) if split.labels[i] in keywords]
    found = list(hear_frames(log_mel, classifier, false_alarms.LOWEST, config))

    def without(those: Sequence[Spoken]) -> float:
        return (ends_s[-1] - sum(one.end_s - one.start_s for one in those)) / 3600

    of_keyword = {}
    for keyword in {one.keyword for one in spoken}:
        own = [one for one in spoken if one.keyword == keyword]
        of_keyword[keyword] = heard([one for one in found if one.keyword == keyword], own, without(own), config)
    # All pooled, false alarms count only where no keyword is spoken, as its hours do.
    starts, ends = np.array([(one.start_s, one.end_s) for one in spoken]).T
    keywords_there = np.array([one.keyword for one in spoken])

    def is_elsewhere(one: Detection) -> bool:
        there = (starts <= one.time_s) & (one.time_s < ends)
        return not (there & (keywords_there != one.keyword)).any()

    outside = [one for one in found if is_elsewhere(one)]
    return Field(heard(outside, spoken, without(spoken), config), of_keyword, False)


class FalseAlarms:
    """Of a model in ``data.negatives``, which are heard when they are asked for; every rank asks for the same."""

    def __init__(self, classifier: Classifier, data: DataConfig, index: CorpusIndex, crew: Crew) -> None:
        self._classifier, self._data, self._crew = classifier, data, crew
        keywords = [classifier.class_names[number] for number in keywords_of(classifier)]
        self._parts = on_first_rank(crew.world, lambda: negatives.index(data, index, keywords))
        self._heard: dict[str, Alarms] = {}

    def of(self, split: str) -> Alarms | None:
        """In the part of a split; None without any negatives."""
        if not self._data.negatives:
            return None
        if split not in self._heard:
            part = negatives.part(self._parts, split)
            self._heard[split] = self._told_by_all(part)
        return self._heard[split]

    def _told_by_all(self, part: Sequence[Negative]) -> Alarms:
        world, own = self._crew.world, part[self._crew.world.rank :: self._crew.world.size]
        listen = partial(alarms_in, self._classifier, own, self._data.on_bad_file, self._crew.processes)
        return Alarms.joined(world.allgather(on_every_rank(world, listen)))


def alarms_in(classifier: Classifier, recordings: Sequence[Negative], on_bad_file: str, processes: int = 1) -> Alarms:
    """All that is taken for a keyword in recordings without any, each heard by itself.

    Raises:
        DataError: for one that turns out to be damaged, unless that is to be left out.
    """
    found = [Alarms.of(told, hours) for _, told, hours in told_in(classifier, recordings, on_bad_file, processes)]
    return Alarms.joined(found)


Told = tuple[Negative, list[Detection], float]
"""A recording, what was heard in it, and its hours."""


def told_in(classifier: Classifier, recordings: Sequence[Negative], on_bad_file: str, processes: int = 1) -> list[Told]:
    """What is taken for a keyword in each recording; raises DataError as ``alarms_in``."""
    of_one = partial(_of_one, classifier, on_bad_file)
    if processes > 1 and len(recordings) > 1:
        with ProcessPoolExecutor(min(processes, len(recordings)), get_context("spawn"), _set_up, (of_one,)) as pool:
            found = list(pool.map(_of_process, recordings))
    else:
        found = list(map(of_one, recordings))
    problems.settle([one for one in found if isinstance(one, Problem)], on_bad_file)
    return [one for one in found if not isinstance(one, Problem)]


def _of_one(classifier: Classifier, on_bad_file: str, recording: Negative) -> Told | Problem:
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in negatives.samples(recording):
            samples += len(block)
            yield block

    try:
        found = list(hear(counted(), classifier, false_alarms.LOWEST, classifier.config.spotting))
    except DataError as error:
        problem = problems.of(recording.path, error)
        problems.settled([problem], on_bad_file)
        return problem
    return recording, found, samples / audio.RATE / 3600


_own: list[Callable[[Negative], Told | Problem]] = []
"""Of a process of the pool."""


def _set_up(of_one: Callable[[Negative], Told | Problem]) -> None:
    threads.use_one()
    _own.append(of_one)


def _of_process(recording: Negative) -> Told | Problem:
    return _own[0](recording)
