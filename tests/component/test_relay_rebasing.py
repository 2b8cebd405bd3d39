"""Sessions keep the defaults of their login; servers with others are replaced, those of replicas opened with what they lack."""

from __future__ import annotations

import pytest
import structlog.testing

from rwsplit.exchange.lease import CLOSED, IDLE, Fate
from rwsplit.relay.client import Client
from rwsplit.relay.rebasing import TICK_WORDS, WORDS
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.defaults import Default, Defaults
from tests.support.frames import query
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of


def said(**values: str) -> Defaults:
    """Return defaults that role or database say."""
    return Defaults({name: Default(value, is_said=True) for name, value in values.items()})


def configured(**values: str) -> Defaults:
    """Return defaults that a node's configuration says."""
    return Defaults({name: Default(value, is_said=False) for name, value in values.items()})


@pytest.fixture
def rig() -> MemoryRelay:
    rig = MemoryRelay(2, size=1)
    rig.relay.rebasing.learn("app", "app", said(timezone="UTC"))
    return rig


def pool_of(rig: MemoryRelay, node: str) -> Pool[Server]:
    pool = rig.relay.pools.find(node, "app", "app")
    assert pool is not None
    return pool


def test_when_the_defaults_change_idle_servers_are_closed_and_others_when_they_are_free(
    rig: MemoryRelay,
):
    changes: list[tuple[str, str]] = []
    rig.relay.rebasing.on_change = lambda database, user: changes.append((database, user))
    rig.ask(rig.clients[0], b"insert into t values (1)")
    rig.turn_clients(rig.clients[:1])
    [busy] = rig.busy()

    rig.relay.rebasing.learn("app", "app", said(timezone="Asia/Tokyo"))

    assert [*rig.relay.servers.values()] == [busy]
    assert (busy.lease == CLOSED, busy.fate) == (False, Fate.OTHER_DEFAULTS)
    assert changes == [("app", "app")]
    rig.answer([busy], ANSWER)
    assert busy.lease == CLOSED


def test_what_is_known_already_changes_nothing(rig: MemoryRelay):
    found = said(timezone="Asia/Tokyo")
    for _ in range(2):
        rig.relay.rebasing.learn("app", "other", found)
    assert len(rig.relay.servers) == 4


def test_a_session_keeps_what_it_has_begun_with_and_what_it_has_set(rig: MemoryRelay):
    client, newer = rig.clients
    client.defaults = said(timezone="UTC", datestyle="ISO")
    intern = rig.knowledge.parameters.intern
    client.adopt_parameters(intern({"work_mem": "1MB"}))

    rig.relay.rebasing.learn("app", "app", said(timezone="Asia/Tokyo", datestyle="ISO"))
    rig.relay.rebasing.work_off()

    assert client.parameters is intern({"timezone": "UTC", "work_mem": "1MB"})
    assert client.journal.base is intern({"timezone": "UTC"})
    assert newer.parameters is intern({}), "nobody knows what it has begun with"
    rig.relay.rebasing.rebase(client)
    assert client.parameters is intern({"timezone": "UTC", "work_mem": "1MB"})


@pytest.fixture
def crowd() -> MemoryRelay:
    rig = MemoryRelay(400, size=1)
    rig.relay.rebasing.learn("app", "app", said(timezone="UTC"))
    for client in rig.clients:
        client.defaults = said(timezone="UTC")
    rig.relay.rebasing.learn("app", "app", said(timezone="Asia/Tokyo"))
    return rig


def has_utc(rig: MemoryRelay, client: Client) -> bool:
    return client.parameters is rig.knowledge.parameters.intern({"timezone": "UTC"})


def test_a_crowd_of_sessions_is_brought_up_to_date_a_few_a_tick(crowd: MemoryRelay):
    rebasing, ticks = crowd.relay.rebasing, 0
    while rebasing.outdated:
        before = len(rebasing.outdated)
        crowd.relay.upkeep.tick()
        assert before - len(rebasing.outdated) <= TICK_WORDS // WORDS
        ticks += 1
    assert ticks > 2
    assert all(has_utc(crowd, client) for client in crowd.clients)


def test_sessions_with_many_parameters_count_for_more(crowd: MemoryRelay):
    rebasing, intern = crowd.relay.rebasing, crowd.knowledge.parameters.intern
    for client in crowd.clients:
        client.adopt_parameters(intern({f"a.b{n}": "c" for n in range(100)}))
    crowd.relay.upkeep.tick()
    assert 400 - 5 > len(rebasing.outdated) > 400 - 20


def test_a_session_that_does_something_is_brought_up_to_date_first(crowd: MemoryRelay):
    client = crowd.clients[-1]
    crowd.ask(client, b"insert into t values (1)")
    crowd.turn_clients([client])
    assert client not in crowd.relay.rebasing.outdated
    assert has_utc(crowd, client)


def test_a_session_that_waits_is_brought_up_to_date_before_it_gets_its_server():
    rig = MemoryRelay(2, size=1)
    rebasing = rig.relay.rebasing
    rebasing.learn("app", "app", said(timezone="UTC"))
    _, second = rig.clients
    for client in rig.clients:
        client.defaults = said(timezone="UTC")
        rig.ask(client, b"insert into t values (1)")
    rig.turn_clients(rig.clients)
    assert second.wait is not None
    rebasing.learn("app", "app", said(timezone="Asia/Tokyo"))
    assert second in rebasing.outdated
    [busy] = rig.busy()
    busy.fate = None  # it is replaced otherwise, and there is no other
    rig.answer([busy], ANSWER)
    assert second not in rebasing.outdated
    assert has_utc(rig, second)
    assert busy.holder is second


def test_a_session_that_has_gone_is_forgotten(crowd: MemoryRelay):
    client = crowd.clients[0]
    crowd.say(client, b"")
    crowd.turn_clients([client])
    assert client.closed
    assert client not in crowd.relay.rebasing.outdated


def test_a_replica_is_opened_with_what_it_lacks_and_a_primary_with_nothing(rig: MemoryRelay):
    rebasing = rig.relay.rebasing
    primary, replica = pool_of(rig, "n0"), pool_of(rig, "n1")
    wanted, found = said(timezone="UTC"), configured(timezone="GMT")

    assert not rebasing.note_differences(replica, wanted, wanted)
    assert not rebasing.note_differences(primary, wanted, found)
    assert rebasing.note_differences(replica, wanted, found)

    assert rebasing.startup(replica) == {"timezone": "UTC"}
    assert rebasing.startup(primary) == {}
    assert not replica.servers, "the one that lacked it"


def test_that_a_nodes_configuration_differs_is_said_once(rig: MemoryRelay):
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            rig.relay.rebasing.note_differences(
                pool_of(rig, "n1"), configured(timezone="UTC"), configured(timezone="GMT")
            )
    assert [log["parameters"] for log in logs] == [["timezone"]]


def test_a_new_server_of_the_primary_tells_what_all_are_to_have(rig: MemoryRelay):
    found = said(timezone="Asia/Tokyo")
    assert rig.relay.rebasing.learn_from(pool_of(rig, "n1"), found) is not found
    assert rig.relay.rebasing.learn_from(pool_of(rig, "n0"), found) is found
    server = Server(
        pool_of(rig, "n1"), wire_of(rig.clients[0]), pid=1, cancel_key=b"k", now=0.0
    )
    assert not rig.relay.rebasing.is_outdated(server), "nobody has compared it"
    server.defaults = found
    assert not rig.relay.rebasing.is_outdated(server)
    server.defaults = said(timezone="UTC")
    assert rig.relay.rebasing.is_outdated(server)


def test_a_server_that_was_opened_with_other_defaults_serves_nobody(rig: MemoryRelay):
    pool = pool_of(rig, "n1")
    for server in list(pool.servers):
        rig.relay.close_server(server)
    pool.starting += 1
    server = Server(pool, wire_of(rig.clients[1]), pid=1, cancel_key=b"k", now=0.0)
    server.defaults = said(timezone="GMT")
    rig.relay.adopt_server(pool, server)
    assert server.lease == CLOSED


def test_only_the_servers_of_one_node_are_replaced_if_it_is_named(rig: MemoryRelay):
    rig.relay.rebasing.replace(node="n1")
    assert not pool_of(rig, "n1").servers
    assert all(server.lease == IDLE for server in rig.relay.servers.values())
    assert len(rig.relay.servers) == 3
    rig.ask(rig.clients[0], b"select 1")
    rig.turn_clients(rig.clients[:1])
    assert rig.busy() or rig.clients[0].line is not None
    assert all(wire_of(server).sent == query("select 1") for server in rig.busy())
