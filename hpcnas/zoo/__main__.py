"""The zoo as a Markdown table, as docs/zoo.md has it: ``python -m hpcnas.zoo``."""

from __future__ import annotations

from collections.abc import Iterator

from hpcnas.core.units import thousands
from hpcnas.nn.cost import CostTable
from hpcnas.nn.model import Surroundings
from hpcnas.zoo import ZOO

HERE = Surroundings(bands=40, classes=12)
FRAMES = 98
"""A second."""


def table() -> Iterator[str]:
    """Line by line."""
    costs = CostTable(HERE, FRAMES)
    yield "| model | paper | parameters there | the same here | in a run | MACs | what differs |"
    yield "|---|---|---|---|---|---|---|"
    for model in ZOO.values():
        as_there = CostTable(Surroundings(model.bands, model.classes), FRAMES).measure(model.tower)
        here = costs.measure(model.tower)
        figures = " | ".join(map(thousands, (model.params, as_there.params, here.params, here.macs)))
        yield f"| `{model.name}` | {model.paper} | {figures} | {model.differs} |"


if __name__ == "__main__":
    print("\n".join(table()))
