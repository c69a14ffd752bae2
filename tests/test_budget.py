import pytest

from hpcnas.core.budget import Budget
from hpcnas.core.errors import ConfigError
from hpcnas.core.trial import Cost


def test_every_limit_holds_and_zero_means_none():
    cost = Cost(params=100, macs=1000, activations=10)
    assert Budget().allows(cost)
    assert Budget(max_params=100, max_macs=1000, max_activations=10).allows(cost)
    for limit in ({"max_params": 99}, {"max_macs": 999}, {"max_activations": 9}):
        assert not Budget(**limit).allows(cost)


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError, match="max_macs = -1"):
        Budget(max_macs=-1)
