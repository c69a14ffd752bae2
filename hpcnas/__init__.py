"""Neural architecture search for keyword spotting and spoken language identification on MPI clusters.

As a library: ``from hpcnas import Run, Classifier, audio``; see docs/library.md. A name is loaded when it is first used, and
what it needs with it: ``Run`` alone loads no torch, and none of them MPI.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Run": "hpcnas.use.library",
    "Classifier": "hpcnas.use.classifier",
    "audio": "hpcnas.data",
}
__all__ = ["Classifier", "Run", "__version__", "audio"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
