"""Numbers as people write them."""

from __future__ import annotations


def thousands(number: int) -> str:
    """A count as people write it: 940, 65.2k, 1.5M."""
    for factor, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= factor:
            return f"{number / factor:.1f}{unit}"
    return str(number)
