"""What training learns that is no keyword, beside the corpus' own other words: words that sound like keywords, windows of
``data.negatives``, and those of them that a model took for keywords. All are examples of ``_unknown_``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hpcnas.core.errors import DataError
from hpcnas.data import confusable, mined, negatives
from hpcnas.data.corpus import UNKNOWN, CorpusIndex, DataConfig
from hpcnas.data.mined import Mined


def with_unknown(config: DataConfig, corpus: CorpusIndex) -> CorpusIndex:
    """The corpus with what the configuration adds to its training split; raises DataError."""
    keys = ("confusable_words", "negative_percent", "mined_negatives", "mine_negatives")
    asked = next((key for key in keys if getattr(config, key)), None)
    if config.all_is_test or asked is None:
        return corpus
    label = label_of(asked, corpus.class_names)
    more = [*confusable.part(config, corpus, "train")] if config.confusable_words else []
    if config.negative_percent or config.mined_negatives:
        parts = negatives.index(config, corpus, corpus.keywords)
        is_keyword = [name in corpus.keywords for name in corpus.class_names]
        count = math.ceil(config.negative_percent / 100 * sum(is_keyword[one.label] for one in corpus.splits["train"]))
        if count:
            more += negatives.windows(negatives.part(parts, "train"), count, config.window_s, label)
        for name in config.mined_negatives:
            found = mined.load(path := Path(name).expanduser())
            mined.ensure_for_training(path, found, parts)
            more += found.examples(label)
    return corpus.with_more("train", more)


def with_mined(corpus: CorpusIndex, found: Mined) -> CorpusIndex:
    """The corpus with windows that were mined for a stage."""
    return corpus.with_more("train", found.examples(label_of("mine_negatives", corpus.class_names)))


def label_of(key: str, class_names: Sequence[str]) -> int:
    """Of ``_unknown_``; raises DataError where there is no such class."""
    if UNKNOWN not in class_names:
        raise DataError(
            f'data.{key}: makes examples of "{UNKNOWN}", which is no class here; take data.protocol = "12" with '
            f'data.unknown_percent above 0, or recordings with the label "{UNKNOWN}"'
        )
    return class_names.index(UNKNOWN)
