"""Which replica a read goes to when a pool has no server to give, without sockets."""

from __future__ import annotations

import pytest

from rwsplit.exchange.waits import Waiting
from rwsplit.relay.client import Client
from rwsplit.routing.consistency import ANY_REPLICA, NOWHERE
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from tests.support.memory_relay import ANSWER, MemoryRelay
from tests.support.refusals import refusal


@pytest.fixture
def rig() -> MemoryRelay:
    return MemoryRelay(4, size=1)


def pool_of(rig: MemoryRelay, node: str) -> Pool:
    pool = rig.relay.pools.find(node, "app", "app")
    assert pool is not None
    return pool


def refuse(rig: MemoryRelay, *nodes: str) -> None:
    """Have each of *nodes* close what is open and refuse what is asked for."""
    for node in nodes:
        pool = pool_of(rig, node)
        for server in list(pool.servers):
            rig.relay.close_server(server)
        pool.starting += 1
        rig.relay.rooms.refuse(pool, refusal())


def read(rig: MemoryRelay, client: Client) -> None:
    rig.ask(client, b"select 1")
    rig.turn_clients([client])


def busy(rig: MemoryRelay) -> list[str]:
    return sorted(server.pool.node for server in rig.busy())


def test_readers_pass_by_replicas_that_refuse(rig: MemoryRelay):
    refuse(rig, "n1", "n3")
    read(rig, rig.clients[0])
    assert busy(rig) == ["n2"]


def test_where_all_replicas_refuse_the_primary_reads(rig: MemoryRelay):
    refuse(rig, "n1", "n2", "n3")
    read(rig, rig.clients[0])
    assert busy(rig) == ["n0"]


@pytest.mark.parametrize("bound_for", [1, ANY_REPLICA])
def test_nobody_waits_for_a_replica_that_refuses_to_prove_fresh(
    rig: MemoryRelay, bound_for: int
):
    client = rig.clients[0]
    refuse(rig, *(["n1"] if bound_for == 1 else ["n1", "n2", "n3"]))
    client.bound_for = bound_for
    read(rig, client)
    assert client.bound_for == NOWHERE
    assert client.waits_for is not Waiting.FRESHNESS
    assert len(rig.busy()) == 1


def test_who_is_bound_for_a_replica_that_lets_it_in_waits_for_that(rig: MemoryRelay):
    client = rig.clients[0]
    refuse(rig, "n2")
    client.bound_for, client.last_read, client.home = 1, 2.0, 3
    read(rig, client)
    assert client.bound_for == 1
    assert client.waits_for is Waiting.FRESHNESS


def test_a_queue_looks_elsewhere_as_soon_as_a_node_with_room_is_fresh_enough(rig: MemoryRelay):
    relay = rig.relay
    first, second, third, last = rig.clients
    for client in (first, second, third, last):
        read(rig, client)
    assert busy(rig) == ["n1", "n2", "n3"]
    line = last.line
    assert line is not None

    relay.rooms.look(rig.now)
    assert last.line is line, "no node has room"

    [other] = [s for s in rig.busy() if s.pool.node == "n3"]
    assert line.node != "n3"
    last.last_read = 5.0
    rig.answer([other], ANSWER)
    relay.rooms.look(rig.now)
    assert last.line is line, "n3 may not have what it has read"

    last.last_read = 0.0
    relay.rooms.look(rig.now)
    assert last.line is None
    assert last.server is other


def test_a_closed_pool_is_tried_again_only_if_readers_passed_it_by(rig: MemoryRelay):
    asked: list[Pool] = []
    for pool in rig.relay.pools:
        pool._dial = asked.append
    refuse(rig, "n1")
    rig.now += 1

    rig.relay.rooms.look(rig.now)
    assert asked == []

    read(rig, rig.clients[0])
    rig.relay.rooms.look(rig.now)
    rig.relay.rooms.look(rig.now)
    assert asked == [pool_of(rig, "n1")]


def test_a_primary_that_refuses_ends_who_waits_unless_it_may_still_serve_them(rig: MemoryRelay):
    first, second = rig.clients[:2]
    for client in (first, second):
        rig.ask(client, b"insert into t values (1)")
    rig.turn_clients([first, second])
    [server] = rig.busy()
    pool = server.pool
    assert list(pool.waiters) == [second]
    pool.starting += 1
    rig.relay.rooms.refuse(pool, refusal())
    assert not second.closed

    rig.relay.close_server(server)
    pool.starting += 1
    rig.relay.rooms.refuse(pool, refusal("53300"))
    assert not second.closed

    pool.starting += 1
    rig.relay.rooms.refuse(pool, refusal())
    assert second.closed


def test_a_new_session_begins_with_the_last_definition(rig: MemoryRelay):
    client = rig.clients[0]
    rig.ask(client, b"create table t (n int)")
    rig.turn_clients([client])
    servers: list[Server] = rig.busy()
    rig.answer(servers, b"C\0\0\0\x11CREATE TABLE\0Z\0\0\0\5I")
    assert rig.knowledge.last_definition == rig.relay.last_write > 0
