"""Ranks that only train do without torch's compiler."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

import torch

_NAME = "torch._dynamo"


class _NoRules:
    """What torch.distributed clears as a process group is made, once the compiler is there."""

    @staticmethod
    def clear_lru_cache() -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(f"{_NAME}.trace_rules"), name)


class _StandIn(ModuleType):
    """Answers the questions of optimisers and process groups; whoever asks for more gets the real module, loaded then."""

    trace_rules = _NoRules()

    @staticmethod
    def disable(fn: Any = None, recursive: bool = True, **_: Any) -> Any:
        return fn

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        torch._dynamo = importlib.import_module(_NAME)
        return getattr(torch._dynamo, name)


def leave_compiler_out() -> None:
    """Keep torch's optimisers from loading the compiler at their first step, only to tell it that they are not to be compiled:
    2 s and 90 MB of every rank, and 900 files for the file system to find.

    torch 2.13 imports it within every step and has no switch for that. ``HPCNAS_TORCH_COMPILER=1`` lets it.
    """
    if _NAME not in sys.modules and os.environ.get("HPCNAS_TORCH_COMPILER") != "1":
        sys.modules[_NAME] = torch._dynamo = _StandIn(_NAME)
