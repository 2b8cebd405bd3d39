"""Who is moved to another replica, and when nobody is because none could be proved fresh."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.node import Down
from rwsplit.cluster.view import ClusterView
from rwsplit.relay.homes import INTERVAL
from rwsplit.routing.consistency import NOWHERE
from tests.support.memory_relay import MemoryRelay

CLIENTS = 12


def crowd_one_replica(rig: MemoryRelay) -> int:
    """Have every session read at replica 1 for many looks; return how many are to leave it."""
    relay = rig.relay
    for look in range(1, 20):
        for client in rig.clients:
            client.home, client.last_read = 1, relay.now
            for _ in range(10):
                relay.note_read(client, 1)
        relay.homes.look(relay.now + look * 2 * INTERVAL)
    return sum(client.bound_for != NOWHERE for client in rig.clients)


def test_sessions_leave_a_replica_that_answers_all():
    assert crowd_one_replica(MemoryRelay(CLIENTS)) > 0


@pytest.mark.parametrize("gone", ["down", "nowhere"])
def test_nobody_leaves_while_no_primary_can_prove_that_another_is_fresh(gone: str):
    rig = MemoryRelay(CLIENTS)
    primary, *replicas = rig.relay.view.nodes
    dead = attrs.evolve(primary, health=Down(0.0, "it is off"))
    rig.relay.view = ClusterView(
        nodes=(dead, *replicas),
        primary=dead if gone == "down" else None,
        replicas=tuple(replicas),
    )
    assert crowd_one_replica(rig) == 0
