"""The scripts of ``examples/`` as modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hpcnas.core.thresholds import Thresholds
from hpcnas.use.classifier import Classifier


def example(name: str) -> ModuleType:
    """A script of ``examples/`` as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent.parent / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_hears_alike(listened: Iterable[tuple[float, np.ndarray]], classifier: Classifier, samples: np.ndarray) -> None:
    """What a streaming example heard, times in seconds and posteriors, is what the classifier hears in the same samples."""
    heard = {round(time_s, 6): logits for time_s, logits in classifier.listen(np.array_split(samples, len(samples) // 160))}
    listened = dict(listened)
    assert len(listened) > 20
    for time_s, posteriors in listened.items():
        np.testing.assert_allclose(posteriors, classifier.posteriors(heard[round(time_s, 6)][np.newaxis])[0], atol=1e-4)


def as_exported(classifier: Classifier, described: Mapping[str, Any]) -> Classifier:
    """The classifier with the temperature that it had when a file with this description was written: the run may have been
    evaluated since."""
    own = described.get("thresholds")
    return replace(classifier, thresholds=own and Thresholds(**own))
