"""``running.json``: how far the running trials have come, for those who look on and for after a kill; at most seconds old.

Not in the journal: that is read as a whole when a search goes on, and most of what it would gain is out of date as soon as the
trial has its result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hpcnas.core.errors import RunError
from hpcnas.store.files import replacing

FORMAT = 1
Curves = Mapping[int, tuple[float, ...]]
"""Score after each epoch, by trial."""


def save(path: Path, curves: Curves) -> None:
    """Replace the file; there is none where no trial has an epoch behind it."""
    if not curves:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as part:
        part.write_text(json.dumps({"format": FORMAT, "curves": {str(id_): curve for id_, curve in curves.items()}}))


def load(path: Path) -> Curves:
    """Empty if there is no file; raises RunError for a damaged one."""
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"has format {content['format']}, not {FORMAT}")
        return {int(id_): tuple(map(float, curve)) for id_, curve in content["curves"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it: a search that goes on writes it again") from error
