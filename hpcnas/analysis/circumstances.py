"""In what runs differ that is in no configuration: machine, versions, ranks, recordings. One seed then gives other trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.errors import RunError
from hpcnas.store import corpus_file

MATTERS = {
    "hpcnas": ("versions", "hpcnas"),
    "torch": ("versions", "torch"),
    "numpy": ("versions", "numpy"),
    "kaldi-native-fbank": ("versions", "kaldi-native-fbank"),
    "CPU": ("cpu",),
    "device": ("device",),
    "kernels": ("kernels",),
    "threads": ("threads",),
    "ranks": ("ranks",),
    "ranks of a group": ("group_size",),
    "engine": ("engine",),
}
"""What scores depend on, or which trials come first, by what it is called; and where it is in ``environment.json``."""
UNKNOWN = "not recorded"


def difference(runs: Sequence[ConfiguredRun]) -> str:
    """One line for whoever compares these runs; empty if they do not differ in what is known of them."""
    known = [(run, circumstances(run)) for run in runs]
    parts = []
    for name in (*MATTERS, "recordings"):
        by_value: dict[str, list[str]] = {}
        for run, of in known:
            by_value.setdefault(of.get(name, UNKNOWN), []).append(run.name)
        if len(by_value) > 1:
            parts.append(f"{name} {'; '.join(f'{value} ({_some(of)})' for value, of in by_value.items())}")
    if not parts:
        return ""
    return f"not made alike, so that one seed need not give the same trials: {', '.join(parts)}"


def circumstances(run: ConfiguredRun) -> Mapping[str, str]:
    """Those that are known of a run, all its jobs together."""
    facts: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        facts = json.loads(run.dir.environment.read_text(encoding="utf-8"))
    jobs = [*facts.get("earlier", []), facts] if isinstance(facts, dict) else []
    found = {}
    for name, keys in MATTERS.items():
        values = dict.fromkeys(str(value) for job in jobs if (value := _at(job, keys)) is not None)
        if values:
            found[name] = " then ".join(values)
    with suppress(RunError):
        digests = corpus_file.load(run.dir.search.corpus).digests
        found["recordings"] = f"{digests['train'][:6]}, validated on {digests['validation'][:6]}"
    return found


def _at(facts: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def _some(names: Sequence[str], shown: int = 3) -> str:
    return f"{', '.join(names[:shown])}{f' and {len(names) - shown} more' if len(names) > shown else ''}"
