"""What a reload changes, and what it cannot."""

from __future__ import annotations

import attrs

from rwsplit.config.changes import compare
from rwsplit.config.model import (
    Address,
    Config,
    ConsistencyConfig,
    MonitorConfig,
    NodeConfig,
    PoolConfig,
)

NODES = (NodeConfig(name="pg0", host="a"), NodeConfig(name="pg1", host="b"))
OLD = Config(nodes=NODES)


def test_equal_configurations_have_no_changes():
    assert compare(OLD, attrs.evolve(OLD, path="elsewhere")).changed == ()


def test_changes_are_listed_with_both_values():
    new = attrs.evolve(
        OLD,
        consistency=ConsistencyConfig(max_lag=5.0, max_lag_bytes=1024),
        pool=PoolConfig(size=5),
    )
    changes = compare(OLD, new)
    assert [str(change) for change in changes.changed] == [
        "consistency.max_lag: 10s -> 5s",
        "consistency.max_lag_bytes: not set -> 1kB",
        "pool.size: 20 -> 5",
    ]
    assert changes.refused == ()


def test_nodes_may_come_go_change_and_swap_places():
    new = attrs.evolve(OLD, nodes=(NodeConfig(name="pg2", host="c"), NODES[0]))
    assert [str(change) for change in compare(OLD, new).changed] == [
        "nodes.pg1: b:5432 -> not set",
        "nodes.pg2: not set -> c:5432",
    ]
    swapped = attrs.evolve(OLD, nodes=NODES[::-1])
    assert [str(change) for change in compare(OLD, swapped).changed] == [
        "nodes: pg0, pg1 -> pg1, pg0"
    ]


def test_a_new_password_is_a_change_that_shows_nothing():
    old = attrs.evolve(OLD, monitor=MonitorConfig(password="one"))
    new = attrs.evolve(OLD, monitor=MonitorConfig(password="two"))
    for before, after in [(old, new), (OLD, new)]:
        (change,) = compare(before, after).changed
        assert str(change) == "monitor.password: **** -> ****"


def test_listen_refuses_the_reload_as_a_whole():
    new = attrs.evolve(
        OLD, listen=(Address(host="127.0.0.1", port=6433),), pool=PoolConfig(size=5)
    )
    assert compare(OLD, new).refused == (
        "listen: cannot change while rwsplit runs; restart it to listen elsewhere",
    )


def test_what_is_told_includes_the_userlist():
    changes = compare(OLD, attrs.evolve(OLD, pool=PoolConfig(size=5)))
    changes = attrs.evolve(changes, userlist=("users: added: app",))
    assert changes.told == ("pool.size: 20 -> 5", "users: added: app")
