"""The scripts of ``examples/`` as modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np

from hpcnas.classifier import Classifier


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
        odds = np.exp(heard[round(time_s, 6)] - heard[round(time_s, 6)].max())
        np.testing.assert_allclose(posteriors, odds / odds.sum(), atol=1e-4)
