"""What one setting may be."""

from __future__ import annotations

import pytest

from rwsplit.config.model import (
    Address,
    ConsistencyConfig,
    DatabaseConfig,
    LogConfig,
    MonitorConfig,
    NodeConfig,
    PoolConfig,
    RuleConfig,
    UserConfig,
)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PoolConfig(size=0), "must be at least 1, got 0"),
        (lambda: PoolConfig(server_connect_timeout=0), "must be more than 0, got 0"),
        (lambda: PoolConfig(server_reset_query=""), "must be a text of at least one character"),
        (lambda: DatabaseConfig(name="shop", size=0), "must be at least 1, got 0"),
        (lambda: UserConfig(name="app", query_timeout=-1), "must be at least 0, got -1"),
        (lambda: PoolConfig(server_lifetime=float("nan")), "must be more than 0, got nan"),
        (lambda: MonitorConfig(interval=float("inf")), r"must be at least 0\.01, got inf"),
        (lambda: ConsistencyConfig(max_lag_bytes=-1), "must be at least 0, got -1"),
        (lambda: Address(host="h", port=65536), "must be between 0 and 65535, got 65536"),
        (lambda: Address(host=""), "must be a text of at least one character"),
        (lambda: NodeConfig(name="a", host="a\0b"), "must be a text of at least one character"),
        (lambda: NodeConfig(name="a.b", host="h"), "a node's name must be letters, digits"),
        (
            lambda: LogConfig(level="loud"),
            "must be one of debug, info, warning, error, got 'loud'",
        ),
        (lambda: RuleConfig(to="node:"), "must be primary, replica or node:NAME, got 'node:'"),
        (lambda: RuleConfig(to="master"), "must be primary, replica or node:NAME"),
    ],
)
def test_a_value_out_of_its_range_is_refused_in_words(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("to", ["primary", "replica", "node:pg1"])
def test_a_rule_routes_to_a_role_or_to_a_node(to):
    assert RuleConfig(to=to).to == to


def test_limits_themselves_are_allowed():
    assert PoolConfig(size=1, min_size=0).size == 1
    assert ConsistencyConfig(max_lag_bytes=0).max_lag_bytes == 0
    assert Address(host="h", port=0).port == 0
    assert LogConfig(level="debug", format="json").format == "json"
