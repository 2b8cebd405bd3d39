"""The tables behind SHOW."""

from __future__ import annotations

import attrs
import trio

from rwsplit import PRODUCT
from rwsplit.admin.explanation import explanation_table
from rwsplit.admin.operator import Explanation
from rwsplit.admin.views import VIEWS
from rwsplit.cluster.node import AdminState, Frozen, Refusal, Suspect
from rwsplit.config.choices import PoolMode
from rwsplit.config.model import ConsistencyConfig, DatabaseConfig, PoolConfig, UserConfig
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints, PrimaryOnly, StateKind, Statement, Verb
from tests.support.operator import BANNED, NODES, NOW, FakeOperator, Refusing


def show(name: str, operator: FakeOperator | None = None) -> list[dict]:
    table = trio.run(VIEWS[name].table, operator or FakeOperator())
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def test_every_view_has_as_many_values_as_columns():
    for name in VIEWS:
        assert show(name), name


def test_pools_have_pgbouncers_columns():
    (pool,) = show("pools")
    assert pool["pool_mode"] == "transaction"
    assert (pool["cl_active"], pool["cl_waiting"], pool["sv_idle"]) == (1, 2, 3)
    assert (pool["maxwait"], pool["maxwait_us"], pool["node"]) == (1, 250000, "primary")
    assert (pool["refused"], pool["refused_for"], pool["retry_in"]) == (None, None, None)


def test_pools_say_what_their_nodes_refuse():
    (pool,) = show("pools", Refusing())
    assert pool["refused"] == 'database "app" does not exist (3D000)'
    assert (pool["refused_for"], pool["retry_in"]) == (1.235, 0.1)


def test_pools_databases_and_users_show_their_modes_and_limits():
    operator = FakeOperator()
    (database,) = show("databases", operator)
    assert (database["pool_mode"], database["pool_size"], database["server_lifetime"]) == (
        None,
        20,
        3600,
    )
    alice = show("users", operator)[1]
    assert (alice["name"], alice["pool_mode"], alice["pool_size"]) == ("alice", None, None)
    assert (alice["current_connections"], alice["current_client_connections"]) == (5, 1)

    pool = PoolConfig(
        databases=(
            DatabaseConfig(
                name="app", mode=PoolMode.SESSION, size=3, reserve_size=2, max_db_connections=9
            ),
        ),
        users=(
            UserConfig(name="alice", mode=PoolMode.STATEMENT, size=4),
            UserConfig(name="*", max_user_connections=7, max_user_client_connections=8),
        ),
    )
    operator.config = attrs.evolve(operator.config, pool=pool)
    assert show("pools", operator)[0]["pool_mode"] == "statement"
    (database,) = show("databases", operator)
    assert database["pool_mode"] == "session"
    assert (database["pool_size"], database["reserve_pool_size"]) == (3, 2)
    assert (database["max_connections"], database["current_connections"]) == (9, 5)
    assert (database["max_client_connections"], database["current_client_connections"]) == (
        0,
        1,
    )
    alice = show("users", operator)[1]
    assert (alice["pool_mode"], alice["pool_size"], alice["reserve_pool_size"]) == (
        "statement",
        4,
        None,
    )
    assert (alice["max_user_connections"], alice["max_user_client_connections"]) == (7, 8)


def test_clients_and_servers_say_where_they_are():
    (client,) = show("clients")
    assert (client["addr"], client["port"], client["last_route"]) == (
        "127.0.0.1",
        40000,
        "READ",
    )
    (server,) = show("servers")
    assert (server["addr"], server["port"], server["remote_pid"]) == ("127.0.0.1", 5002, 4711)


def test_config_shows_values_defaults_and_what_a_reload_can_change():
    settings = {row["key"]: row for row in show("config")}
    assert settings["consistency.max_lag"] == {
        "key": "consistency.max_lag",
        "value": "10s",
        "default": "10s",
        "changeable": True,
    }
    assert settings["listen"]["changeable"] is False
    assert settings["nodes.replica1"]["default"] is None


def test_routes_lists_and_version():
    assert show("routes")[0] == {
        "reason": "READ",
        "statements": 42,
        "sentence": "it only reads",
    }
    assert {"list": "used_servers", "items": 1} in show("lists")
    assert show("version") == [{"version": PRODUCT}]
    assert show("databases")[0]["current_connections"] == 5
    assert show("metrics")[1] == {"metrics": "rwsplit_clients 1.0"}


def test_a_node_says_why_it_may_not_read_with_the_numbers():
    operator = FakeOperator()
    operator.config = attrs.evolve(
        operator.config, consistency=ConsistencyConfig(max_lag=60.0, max_lag_bytes=1000)
    )
    operator.replace(
        attrs.evolve(NODES[1], refusal=Refusal.OTHER_TIMELINE, timeline=2),
        attrs.evolve(NODES[3], health=BANNED, refusal=Refusal.BANNED),
        attrs.evolve(NODES[0], admin=AdminState.DETACHED, refusal=Refusal.DETACHED),
    )
    nodes = {row["node"]: row for row in show("nodes", operator)}
    assert nodes["replica1"]["refusal_detail"] == "timeline 2, the primary's is 1"
    assert nodes["replica2"]["refusal_detail"] == "16777312 bytes > 1000 bytes"
    assert nodes["replica3"]["refusal_detail"] == "connection lost"
    assert nodes["replica3"]["health_detail"] == "connection lost, for 3.0 s more"
    assert nodes["primary"]["refusal_detail"] == "detached by an operator"
    assert nodes["primary"]["admin_state"] == "detached"


def test_a_node_that_is_late_with_an_answer_says_for_how_long():
    operator = FakeOperator()
    suspect, frozen = Suspect(since=NOW - 0.3), Frozen(since=NOW - 0.6, until=NOW, strikes=1)
    operator.replace(
        attrs.evolve(NODES[1], health=suspect, refusal=Refusal.SUSPECT),
        attrs.evolve(NODES[2], health=frozen, refusal=Refusal.FROZEN),
    )
    nodes = {row["node"]: row for row in show("nodes", operator)}
    assert nodes["replica1"]["health"] == "suspect"
    assert nodes["replica1"]["health_detail"] == "owes an answer for 0.3 s"
    assert nodes["replica2"]["health"] == "frozen"
    assert nodes["replica2"]["health_detail"] == "leaves reads and probes unanswered for 0.6 s"
    assert nodes["replica2"]["refusal"] == "FROZEN"


def test_an_explanation_has_the_facts_the_route_and_each_node():
    statement = Statement(
        Verb.QUERY,
        primary_only=PrimaryOnly.UNKNOWN_FUNCTION,
        state=StateKind.UNKNOWN_FUNCTION,
        functions=frozenset({"f", "app.g"}),
    )
    explanation = Explanation(
        script=Script(
            (statement,), hints=Hints(route="primary", max_lag=5.0, misspelt=("a", "b"))
        ),
        route=Route(Target.PRIMARY, RouteReason.HINT),
        node=None,
        refusals={"replica1": Refusal.BEHIND_SESSION},
    )
    rows = explanation_table(explanation, FakeOperator()).rows
    assert ("statement", "verb", "query", None) in rows
    assert ("statement", "functions", "app.g, f", None) in rows
    assert ("statement", "hint max_lag", "5.0", None) in rows
    assert ("statement", "hint misspelt", "a; b", None) in rows
    assert not any(row[1] == "hint node" for row in rows)
    assert (
        "statement",
        "state",
        "UNKNOWN_FUNCTION",
        "a function rwsplit does not know",
    ) in rows
    assert ("route", "reason", "HINT", "a hint says so") in rows
    assert ("route", "node", None, None) in rows
    assert ("node", "replica1", "BEHIND_SESSION", Refusal.BEHIND_SESSION.value) in rows
    assert ("node", "replica2", "LAGGING", "12.3 s > 10 s") in rows
