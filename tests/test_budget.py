import pytest

from hpcnas.core.budget import Budget
from hpcnas.core.errors import ConfigError
from hpcnas.core.trial import Cost


def test_every_limit_holds_and_zero_means_none():
    cost = Cost(params=100, macs=1000, activations=10, latency_ms=2.0)
    assert not Budget().objection(cost)
    assert not Budget(max_params=100, max_macs=1000, max_activations=10, max_latency_ms=2).objection(cost)
    for limit in ({"max_params": 99}, {"max_macs": 999}, {"max_activations": 9}, {"max_latency_ms": 1.9}):
        assert next(iter(limit)) in Budget(**limit).objection(cost)


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError, match="max_macs = -1"):
        Budget(max_macs=-1)
