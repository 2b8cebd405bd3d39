"""What a client sends in one go is answered in that order, wherever its parts run."""

from __future__ import annotations

from rwsplit.exchange.lease import CLOSED
from rwsplit.relay.dispatch import MOST_LISTED
from rwsplit.relay.sending import VACATES
from rwsplit.session.inband_settings import InBandSettings
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

SYNCED = frames.message("1") + frames.ready()


def test_what_follows_a_read_that_may_run_elsewhere_waits_for_it():
    """Behind a Parse of a name in use rwsplit closes what that leaves; the read before may fail all the same."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.in_band = InBandSettings(route="primary")
    wire_of(client).incoming = frames.parse("a", "select 1") + frames.SYNC
    rig.turn_clients([client])
    rig.answer(rig.busy(), SYNCED)

    again = frames.parse("a", "select * from nosuch") + frames.SYNC
    wire_of(client).incoming = again + frames.query("select 5")
    rig.turn_clients([client])
    [server] = rig.busy()
    assert server.owed_count == 2  # the unit, and what closes its statement
    assert b"select 5" not in wire_of(server).sent

    refused = frames.message("3") + frames.message("1") + frames.error("42P01") + frames.ready()
    rig.turn_servers([(server, refused + frames.message("3") + frames.ready())])
    assert wire_of(client).sent == frames.error("42P01") + frames.ready()
    rig.answer(rig.busy(), ANSWER)
    assert wire_of(client).sent == ANSWER


def test_who_has_very_many_statements_cannot_list_them():
    """A server must have been taught all of them for that, in one go: everybody would wait."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.set_in_band(InBandSettings(route="primary"))
    question = frames.query("select name from pg_prepared_statements")
    told = wire_of(client).log = []
    for few in (True, False):
        first = 0 if few else 10
        count = 10 if few else MOST_LISTED
        parses = b"".join(
            frames.parse(f"s{n}", f"select {n}") for n in range(first, first + count)
        )
        rig.say(client, parses + frames.SYNC)
        rig.turn_clients([client])
        while rig.busy() or rig.relay.driver.pressed:
            if rig.busy():
                rig.reply(rig.busy())
            else:
                rig.relay.turn([])
        assert len(client.names) == first + count
        told.clear()
        rig.say(client, question)
        rig.turn_clients([client])
        assert bool(rig.busy()) is few
        while rig.busy():
            rig.turn_servers(
                [(server, frames.ready() * server.owed_count) for server in rig.busy()]
            )
    assert b"C54000\0" in b"".join(told)
    assert not client.closed


def test_servers_leave_a_database_that_is_to_go_but_not_soon_after_that_was_in_vain():
    """Who may not drop it may say so as often as it likes, and all others would wait for new servers."""
    rig = MemoryRelay(2, size=2)
    relay, client = rig.relay, rig.clients[0]
    client.set_in_band(InBandSettings(route="primary"))
    servers = list(relay.servers.values())

    def left() -> int:
        rig.ask(client, b"drop database app")
        rig.turn_clients([client])
        return sum(server.lease == CLOSED for server in servers)

    relay.sender.vacated_in_vain("app")
    assert left() == 0
    rig.answer(rig.busy(), frames.error("42501") + frames.ready())
    relay.sender._in_vain["app"] -= VACATES
    closed = left()
    assert closed > 0
    rig.answer(rig.busy(), frames.complete("DROP DATABASE") + frames.ready())
    relay.sender.vacated_in_vain("elsewhere")
    assert set(relay.sender._in_vain) == {"app"}
