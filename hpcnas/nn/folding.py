"""Branches that only training has, folded into the one layer that is deployed.

A sum of convolutions, each with its batch norm, is one convolution once their statistics stand still (Ding et al., RepVGG, CVPR
2021, arXiv:2101.03697; for keyword spotting TENet, Interspeech 2020, arXiv:2010.09960, and RepCNN, 2024, arXiv:2406.02652).
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def folded(module: M) -> M:
    """The same function as ``module`` has in evaluation, without the branches of parts that can be ``folded``.

    ``module`` itself where there are none; else a copy, whose parameters have other names.
    """
    if (own := getattr(module, "folded", None)) is not None:
        return own()
    found = [name for name, part in module.named_modules() if hasattr(part, "folded")]
    if not found:
        return module
    module = copy.deepcopy(module)
    for name in found:
        module.set_submodule(name, folded(module.get_submodule(name)))
    return module
