"""What goes with an exported graph, so that it can be used without hpcnas: JSON, described in docs/deploy.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hpcnas import __version__
from hpcnas.data import DATASETS, audio
from hpcnas.deploy.graphs import Step, Windows
from hpcnas.use.classifier import Classifier

FORMAT = 1
KEY = "hpcnas"
"""Of the description among the metadata of an ONNX or LiteRT file."""
CONFIG_KEY = "hpcnas_config"
"""Of the run's configuration, as TOML."""


def description(classifier: Classifier, graph: Windows | Step, fixed: bool, reached: Mapping[str, float]) -> dict[str, Any]:
    """Values for JSON.

    Args:
        fixed: whether the graph takes single windows of one length only.
        reached: figures of the model, by name.
    """
    data = classifier.config.data
    values = {
        "format": FORMAT,
        "hpcnas": __version__,
        "name": classifier.name,
        "architectures": [str(architecture) for architecture in classifier.architectures],
        "weights": [member.weight for member in classifier.members],
        "parameters": classifier.params,
        "class_names": list(classifier.class_names),
        "temperature": classifier.thresholds.temperature if classifier.thresholds else 1.0,
        **classifier.config.features.bank.described,
        "window": {
            "samples": round(data.window_s * audio.RATE),
            "frames": classifier.window,
            "fixed": fixed,
            "pads": DATASETS[data.name].PADDING_COUNTS,
        },
        "metrics": dict(reached),
    }
    if classifier.thresholds is not None:
        values["thresholds"] = asdict(classifier.thresholds)
    if isinstance(graph, Step):
        values["stream"] = {"frames": graph.frames, "state": [asdict(tensor) for tensor in graph.state]}
    return values
