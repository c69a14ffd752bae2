"""Ranks keep the kernels of few models, unless the user says otherwise."""

from __future__ import annotations

import os

from hpcnas.runtime import memory


def test_the_user_s_own_limit_on_kernels_holds(monkeypatch):
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    memory.limit_kernels()
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    memory.limit_kernels()
    assert os.environ[name] == "256"
