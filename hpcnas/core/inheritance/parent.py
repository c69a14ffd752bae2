"""Inherit from the parent: Transfer(B(a), B(b)) of Mazzawi et al., Interspeech 2019, Algorithm 1 and Fig. 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcnas.core.archive import Archive
from hpcnas.core.inheritance.parts import Arrays, Shapes, corresponding, overlapping, taken
from hpcnas.core.inheritance.widening import is_wider, widened
from hpcnas.core.mutation import aligned_blocks, matching_blocks
from hpcnas.core.trial import Donor, Trial


@dataclass(frozen=True, kw_only=True)
class Parent:
    """Blocks that the child shares with its parent start from the parent's arrays.

    The paper's rule is ``behind = false, near_identity = false, widen = false``.
    """

    behind: bool = True
    """Whether equal blocks behind the mutation, the tail and the classifier are inherited too, if their shapes agree."""
    near_identity: bool = True
    """A new block starts as (nearly) the identity where its type allows it."""
    widen: bool = True
    """A block that replaced a narrower one of its kind starts with the same function."""
    overlap: bool = True
    """A block of another size takes the leading part of its ancestor's arrays, as slimmable networks share them between widths
    (Yu et al., ICLR 2019, arXiv:1812.08928). The rest starts at random."""

    def donors(self, archive: Archive, trial: Trial) -> tuple[Donor, ...]:
        """The parent, unless it never got a score."""
        parent = trial.proposal.parent
        if parent is None or parent not in archive.results or not archive.results[parent].state.has_score:
            return ()
        return (Donor(archive.trials[parent]),)

    def merge(self, trial: Trial, shapes: Shapes, donors: Sequence[tuple[Donor, Arrays]]) -> dict[str, np.ndarray]:
        """The arrays that ``trial`` inherits, by its own names; whole blocks or nothing.

        Args:
            shapes: of the child's arrays by name: ``blocks.<index>.<rest>``, or of what is behind the searched blocks.
            donors: with their arrays, named the same way.
        """
        merged: dict[str, np.ndarray] = {}
        for donor, arrays in donors:
            if self.overlap:
                pairs = corresponding(shapes, aligned_blocks(trial.architecture, donor.trial.architecture), self.behind)
                for own, theirs in pairs.items():
                    merged.update(overlapping(shapes, arrays, own, theirs))
            pairs = corresponding(
                shapes, matching_blocks(trial.architecture, donor.trial.architecture, self.behind), self.behind
            )
            for own, theirs in pairs.items():
                merged.update(taken(shapes, arrays, own, theirs))
            if self.widen:
                merged.update(self._widened(trial, shapes, donor.trial, arrays))
        return merged

    def _widened(self, trial: Trial, shapes: Shapes, donor: Trial, arrays: Arrays) -> dict[str, np.ndarray]:
        ours, theirs = trial.architecture.blocks, donor.architecture.blocks
        changed = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b]
        if len(ours) != len(theirs) or len(changed) != 1 or not is_wider(ours[changed[0]], theirs[changed[0]]):
            return {}
        at = changed[0]
        pairs = corresponding(shapes, {i: i for i in range(at, len(ours))}, behind=True)
        return widened(shapes, arrays, pairs, f"blocks.{at}.", ours[at], theirs[at], np.random.default_rng([trial.seed, at]))
