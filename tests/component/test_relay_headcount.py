"""Clients are counted by database and user, from their welcome to their end."""

from __future__ import annotations

from rwsplit.config.model import DatabaseConfig, PoolConfig, UserConfig
from rwsplit.relay.headcount import Headcount
from tests.support.memory_relay import MemoryRelay

LIMITS = PoolConfig(
    databases=(DatabaseConfig(name="shop", max_db_client_connections=2),),
    users=(UserConfig(name="*", max_user_client_connections=1),),
)


def test_a_database_and_a_user_have_room_up_to_their_limit():
    count = Headcount()
    assert count.refusal(LIMITS, "shop", "a") is None
    count.enter("shop", "a")
    assert (
        count.refusal(LIMITS, "books", "a")
        == 'too many connections for user "a" (max_user_client_connections = 1)'
    )
    count.enter("shop", "b")
    assert (
        count.refusal(LIMITS, "shop", "c")
        == 'too many connections for database "shop" (max_db_client_connections = 2)'
    )
    assert count.refusal(PoolConfig(), "shop", "a") is None
    count.leave("shop", "a")
    assert count.refusal(LIMITS, "shop", "a") is None


def test_nobody_is_left_of_clients_that_have_gone():
    rig = MemoryRelay(3)
    assert rig.relay.headcount.users == {"app": 3}
    for client in rig.clients:
        rig.relay.close_client(client)
        rig.relay.close_client(client)
    assert not rig.relay.headcount.users
    assert not rig.relay.headcount.databases
