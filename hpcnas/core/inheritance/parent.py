"""Inherit from the parent: Transfer(B(a), B(b)) of Mazzawi et al., Interspeech 2019, Algorithm 1 and Fig. 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.mutation import matching_blocks
from hpcnas.core.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Parent:
    """Blocks that the child shares with its parent start from the parent's arrays.

    The paper's rule is ``behind = false, near_identity = false``.
    """

    behind: bool = True
    """Also the equal blocks behind the mutation, the tail and the classifier, where their shapes agree."""
    near_identity: bool = True
    """A new block starts as (nearly) the identity where its type allows it."""

    def donors(self, archive: Archive, trial: Trial) -> tuple[Trial, ...]:
        """The parent, unless it never got a score."""
        parent = trial.proposal.parent
        if parent is None or parent not in archive.results or not archive.results[parent].state.has_score:
            return ()
        return (archive.trials[parent],)

    def merge(
        self, trial: Trial, shapes: Mapping[str, tuple[int, ...]], donors: Sequence[tuple[Trial, Mapping[str, np.ndarray]]]
    ) -> dict[str, np.ndarray]:
        """The arrays that ``trial`` inherits, by its own names; whole blocks or nothing.

        Args:
            shapes: of the child's arrays by name: ``blocks.<index>.<rest>``, or of what is behind the searched blocks.
            donors: with their arrays, named the same way.
        """
        merged: dict[str, np.ndarray] = {}
        for donor, arrays in donors:
            pairs = matching_blocks(trial.architecture, donor.architecture, self.behind)
            parts = {f"blocks.{child}.": f"blocks.{parent}." for child, parent in pairs.items()}
            if self.behind:
                parts.update((part, part) for part in map(_part, shapes) if not part.startswith("blocks."))
            for own, theirs in parts.items():
                taken = {name: theirs + name[len(own) :] for name in shapes if name.startswith(own)}
                if all(source in arrays and arrays[source].shape == shapes[name] for name, source in taken.items()):
                    merged.update((name, arrays[source]) for name, source in taken.items())
        return merged


def _part(name: str) -> str:
    """The prefix that the arrays of one block, head or classifier share: ``tail.0.`` of ``tail.0.module.weight``."""
    first, second, *_ = name.split(".")
    return f"{first}.{second}." if first in ("blocks", "tail") else f"{first}."
