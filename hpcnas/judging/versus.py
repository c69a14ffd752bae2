"""Two models on the same recordings: each hears them through its own front end, and answers by the name of a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpcnas.config import Config
from hpcnas.core.errors import DataError
from hpcnas.data.corpus import CorpusIndex, DataConfig, Example
from hpcnas.store.run_dir import RunDir
from hpcnas.use.classifier import Classifier, opened


def opponent(path: Path, text: str) -> Classifier:
    """The model that ``--against`` names beside one of ``path``: an exported file, another run's directory, ``RUN:MODEL``, or a
    model of the same run; raises RunError."""
    given = Path(text)
    if given.is_file() or RunDir(given).exists:
        return opened(given, None)
    run, colon, name = text.rpartition(":")
    if colon and RunDir(Path(run)).exists:
        return opened(Path(run), name)
    return opened(path, text)


def ensure_comparable(one: Classifier, other: Classifier, text: str) -> None:
    """Raise DataError if the two choose among other classes."""
    alone = [sorted(set(a.class_names) - set(b.class_names)) for a, b in ((one, other), (other, one))]
    who = (one.name, text)
    if told := [f'"{name}" alone knows {", ".join(names)}' for name, names in zip(who, alone) if names]:
        raise DataError(f'--against {text}: cannot be compared with "{one.name}", since {" and ".join(told)}')


def hearing_of(other: Classifier, config: Config) -> Config:
    """How ``other`` hears the recordings of ``config``: with its own features and window, drawn and divided as there."""
    window_s = other.config.data.window_s
    data = replace(config.data, window_s=window_s, longest_s=max(config.data.longest_s, window_s))
    return replace(other.config, seed=config.seed, data=data)


def fitted(index: CorpusIndex, data: DataConfig) -> CorpusIndex:
    """The same stretches of the same recordings for a model of another window, which pads what is shorter."""

    def stretch(example: Example) -> Example:
        heard_s = example.spoken_s or example.length_s
        return replace(example, length_s=max(heard_s, data.window_s)) if example.length_s else example

    return replace(index, splits={name: tuple(map(stretch, examples)) for name, examples in index.splits.items()})
