"""What a model is to run on, and which parts of a space cannot run there.

A target lists what cannot run. Every other block or head has been seen to run, converted to 8-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hpcnas.core.architecture import Architecture

_UNROLLED = "whole windows unroll a recurrence to one concatenation of all frames, of which it takes 10 parts"


@dataclass(frozen=True)
class Target:
    """A runtime's gaps.

    Args:
        windows: why a block or head cannot run on whole windows, by its name.
        steps: the same frame by frame, as models of ``space.causal`` run.
    """

    windows: Mapping[str, str]
    steps: Mapping[str, str]

    def gap(self, name: str, causal: bool) -> str:
        """Why a block or head of that name cannot run; empty if it can."""
        return (self.steps if causal else self.windows).get(name, "")

    def objection(self, tower: Architecture, causal: bool) -> str:
        """The first block of a tower that cannot run, with the reason; empty if all can."""
        return next((f"{kind}: {gap}" for kind in (b.kind for b in tower.blocks) if (gap := self.gap(kind, causal))), "")

    def left_out(self, names: Iterable[str], causal: bool) -> dict[str, str]:
        """Those that cannot run, with the reason."""
        return {name: gap for name in names if (gap := self.gap(name, causal))}


@dataclass(frozen=True)
class Footprint:
    """What a model takes on a target, in 8-bit integers and units of 1024 bytes; nothing but ``lacks`` where it cannot run.

    Args:
        operators: of its graph, by kind.
        macs: multiply-accumulates of one inference: of a window, or, of a causal model, of a step.
        device_ms: of the same by estimate; 0: no processor is named.
        lacks: why it cannot run; empty if it can.
    """

    name: str
    flash_kb: float = 0.0
    arena_kb: float = 0.0
    operators: Mapping[str, int] = field(default_factory=dict)
    macs: int = 0
    device_ms: float = 0.0
    lacks: str = ""


TARGETS: Mapping[str, Target] = {
    "tflite-micro": Target(
        windows={
            **dict.fromkeys(("bigru", "bilstm"), _UNROLLED),
            **dict.fromkeys(("gru", "lstm", "rnn"), f"{_UNROLLED}; with space.causal = true it runs frame by frame"),
        },
        steps=dict.fromkeys(("attention", "conformer"), "what it compares of frames kept from before stays in floats"),
    ),
}
