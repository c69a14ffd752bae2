"""Audio without keywords for ``search.objective = "misses_at_fa"``: the validation part of ``data.negatives`` as windows that
overlap by half, their features cached like a corpus', heard by the ranks of a group together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from hpcnas.config import Config
from hpcnas.core.errors import ConfigError
from hpcnas.core.false_alarms import hours_needed, supports
from hpcnas.core.streams import Stream
from hpcnas.data import negatives
from hpcnas.data.corpus import SPLITS, CorpusIndex
from hpcnas.data.negatives import Negative
from hpcnas.nn.corpus import Corpus, Split
from hpcnas.nn.training import Trainer
from hpcnas.runtime.features import indexed, load_corpus
from hpcnas.runtime.together import World, on_first_rank


@dataclass(frozen=True)
class LongAudio:
    """The windows, and where they lie."""

    windows: Split
    stream: Stream

    def score(self, trainer: Trainer, model: nn.Module, logits_NK: np.ndarray, labels_N: np.ndarray) -> float:
        """Share of the validation split's keywords that is heard; called by all ranks of a group.

        Args:
            logits_NK: of the validation split.
        """
        of_windows = trainer.evaluate(model, self.windows, quantised=trainer.config.quantised)
        return self.stream.heard_share(logits_NK, labels_N, of_windows)


def long_audio(world: World, config: Config, corpus: Corpus) -> LongAudio:
    """Of the validation part; collective over ``world``.

    Raises:
        ConfigError: on all ranks, if there are no keywords, no negatives, or too few hours of them to tell the rate.
        DataError: on all ranks, for negatives that cannot be used.
    """
    names = corpus.class_names
    empty = CorpusIndex(names, dict.fromkeys(SPLITS, ()), ())
    own = on_first_rank(world, lambda: _checked(config, empty.keywords))
    window_s = config.data.window_s
    starts = [
        (number, start_s)
        for number, one in enumerate(own)
        for start_s in np.arange(one.start_s, max(one.end_s - window_s, one.start_s) + 1e-6, window_s / 2).tolist()
    ]
    examples = [negatives.window(own[number].path, 0, start_s) for number, start_s in starts]
    apart = replace(config, data=config.data.as_it_is)
    found = load_corpus(world, apart, corpus.front_end, lambda: empty.with_more("validation", examples)).validation
    assert found.rows is not None
    recordings, times_s = np.array(starts)[found.rows].T
    keywords = [number for number, name in enumerate(names) if name in empty.keywords]
    spotting = replace(config.spotting, hop_s=window_s / 2)
    return LongAudio(found, Stream(recordings.astype(int), times_s + window_s / 2, hours_of(own), keywords, spotting))


def hours_of(recordings: Sequence[Negative]) -> float:
    """Of recordings whose ends are known."""
    return sum(one.end_s - one.start_s for one in recordings) / 3600


def _checked(config: Config, keywords: tuple[str, ...]) -> list[Negative]:
    """The recordings of the validation part with their ends, if they are enough."""
    plain = replace(config, data=config.data.as_it_is)
    rate, key = config.spotting.false_alarms_per_hour, 'search.objective = "misses_at_fa"'
    if not config.data.negatives:
        raise ConfigError(f"{key}: needs audio without keywords; name some in data.negatives")
    part = negatives.part(negatives.index(plain.data, indexed(plain), keywords), "validation")
    own = [replace(one, end_s=negatives.end_of(one)) for one in part]
    if not supports(hours := hours_of(own), rate):
        raise ConfigError(
            f"{key}: the validation part of data.negatives has {hours:.2f} h, which cannot tell "
            f"spotting.false_alarms_per_hour = {rate:g}; {hours_needed(rate):g} h would"
        )
    return own
