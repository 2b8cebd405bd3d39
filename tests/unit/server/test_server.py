"""A server knows what it owes, and says who it is."""

from __future__ import annotations

from rwsplit.config.model import PoolConfig
from rwsplit.exchange.lease import UNCLAIMED
from rwsplit.protocol import codes
from rwsplit.protocol.responses import Owed
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.parameters import NONE
from tests.support.silent_wire import SilentWire


def a_server() -> Server:
    pool = Pool("pg0", 0, "shop", "app", PoolConfig(), lambda _: None)
    return Server(pool, SilentWire(7), pid=4711, cancel_key=b"key", now=12.0)


def test_a_new_server_is_nobodys_clean_and_owes_nothing():
    server = a_server()

    assert server.lease == UNCLAIMED
    assert server.fd == 7
    assert server.owed_count == 0
    assert server.tx == codes.IDLE
    assert server.parameters is NONE
    assert not server.known
    assert server.born == server.idle_since == server.last_done == 12.0
    assert not server.soiled
    assert server.fate is None
    assert server.cancels == 0


def test_what_it_owes_is_answered_in_the_order_it_was_asked():
    server = a_server()
    first, second = Owed([]), Owed(None)

    server.owe(first)
    server.owe(second)

    assert server.owed_count == 2
    assert list(server.responses.owed) == [first, second]


def test_it_says_whose_it_is_and_what_it_does():
    assert repr(a_server()) == "<Server pg0 pid=4711 unclaimed owed=0>"
