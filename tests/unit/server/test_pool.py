"""Sessions take servers from a pool and give them back; the pool asks for more within its size."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from rwsplit.config.model import PoolConfig
from rwsplit.errors import NodeUnreachable
from rwsplit.exchange.lease import CLOSED, HELD, IDLE
from rwsplit.server.pool import BACK_OFF, Pool
from rwsplit.server.quota import Quota
from rwsplit.server.server import Server
from rwsplit.session.parameters import ParameterSet, ParameterStore
from rwsplit.session.pinning import PinReason
from rwsplit.session.prepared import Prepared
from rwsplit.session.session import Session
from tests.support.refusals import refusal
from tests.support.silent_wire import SilentWire

REFUSED = NodeUnreachable("connection refused")


class Dials:
    """Counts the servers asked for; *answers* False for a process that ends and starts no task."""

    def __init__(self) -> None:
        self.count = 0
        self.answers = True

    def __call__(self, pool: Pool) -> None:
        self.count += 1
        if not self.answers:
            pool.starting -= 1


def a_pool(dials: Dials | None = None, **config: int) -> Pool:
    return Pool("pg0", 0, "shop", "app", PoolConfig(**config), dials or Dials())


def opened(pool: Pool, now: float = 0.0) -> Server:
    """Ask for a server, let it be opened, and have it released."""
    pool.starting += 1
    server = Server(pool, SilentWire(), pid=1, cancel_key=b"", now=now)
    pool.adopt(server)
    pool.release(server, now)
    return server


def waits(pool: Pool, count: int = 1, *, since: float = 0.0) -> None:
    for _ in range(count):
        pool.waiters.append(SimpleNamespace(pending=[SimpleNamespace(arrived=since)]))  # type: ignore[arg-type]


def a_session(parameters: ParameterSet | None = None, pin: PinReason | None = None) -> Session:
    return SimpleNamespace(parameters=parameters, pin=pin)  # type: ignore[return-value]


# Taking and giving back...


def test_a_server_that_has_the_parameters_already_is_taken_before_others():
    store = ParameterStore()
    zone = store.intern({"timezone": "UTC"})
    pool = a_pool()
    first, second = opened(pool), opened(pool)
    first.parameters = zone

    assert pool.acquire_alike(a_session(zone)) is first
    assert pool.acquire_alike(a_session(zone)) is second
    assert pool.acquire_alike(a_session(zone)) is None


def test_a_server_that_has_parsed_an_unnamed_statement_is_taken_before_others():
    parameters = ParameterStore().intern({"timezone": "UTC"})
    pool = a_pool()
    first, second, third = opened(pool), opened(pool), opened(pool)
    ours, another = (
        Prepared(name, text + b"\0\0\0", text, None)
        for name, text in ((b"a", b"select 1"), (b"b", b"select 2"))
    )
    first.parameters = second.parameters = parameters
    first.unnamed = third.unnamed = ours
    second.unnamed = another

    assert pool.acquire_that_parsed(ours, a_session(parameters)) is first
    assert pool.acquire_that_parsed(ours, a_session(parameters)) is second
    assert pool.acquire_that_parsed(ours, a_session(parameters)) is third
    assert pool.acquire_that_parsed(ours, a_session(parameters)) is None


def test_an_empty_pool_has_no_server_to_give():
    assert a_pool().acquire(a_session()) is None


def test_the_server_used_last_is_taken_first():
    pool = a_pool()
    first, second = opened(pool), opened(pool)

    assert pool.acquire(a_session()) is second
    assert pool.acquire(a_session()) is first
    assert pool.acquire(a_session()) is None
    assert first.lease == second.lease == HELD


def test_one_certain_server_can_be_taken():
    pool = a_pool()
    first, second = opened(pool), opened(pool)

    session = a_session()
    pool.acquire_this(first, session)

    assert (first.lease, first.holder) == (HELD, session)
    assert list(pool.idle) == [second]


def test_a_server_given_back_belongs_to_nobody():
    pool = a_pool()
    server = opened(pool)
    pool.acquire(a_session())
    server.responses.owner = []

    pool.release(server, 5.0)

    assert server.lease == IDLE
    assert server.holder is None
    assert server.responses.owner is None
    assert server.idle_since == 5.0


def test_a_server_that_is_closed_is_forgotten_wherever_it_was():
    pool = a_pool()
    idle, lane, held = opened(pool), opened(pool), opened(pool)
    for server in (lane, held):
        pool.acquire_this(server, a_session())
    lane.share()
    pool.lanes.append(lane)

    for server in (idle, lane, held):
        pool.remove(server)
        assert server.lease == CLOSED

    assert not pool.servers
    assert not pool.idle
    assert not pool.lanes


# Asking for servers...


def test_a_server_is_asked_for_per_waiting_session_up_to_the_size():
    dials = Dials()
    pool = a_pool(dials, size=3)
    waits(pool, 2)

    pool.ask(0.0)
    assert dials.count == pool.starting == 2

    pool.ask(0.0)
    assert dials.count == 2

    waits(pool, 5)
    pool.ask(0.0)
    assert dials.count == pool.starting == 3
    assert pool.is_full


def test_nobody_waiting_asks_for_nothing():
    dials = Dials()

    a_pool(dials).ask(0.0)

    assert dials.count == 0


def test_asking_ends_even_if_no_dial_can_be_started():
    dials = Dials()
    dials.answers = False
    pool = a_pool(dials, size=3)
    waits(pool, 2)

    pool.ask(0.0)

    assert dials.count == 2
    assert pool.starting == 0


def test_after_a_failure_one_attempt_is_made_at_a_time_and_later_each_time():
    dials = Dials()
    pool = a_pool(dials)
    waits(pool, 4)
    first, most = BACK_OFF
    pool.starting = 1

    now = 10.0
    pause = first
    for attempt in range(1, 12):
        pool.dial_failed(REFUSED, now)
        assert pool.last_error is REFUSED
        assert pool.retry_at == now + min(pause, most)

        pool.ask(pool.retry_at - 0.001)
        assert dials.count == attempt - 1
        now = pool.retry_at
        pool.ask(now)
        pool.ask(now)
        assert dials.count == attempt
        pause *= 2


def test_a_server_that_opens_ends_the_patience():
    dials = Dials()
    pool = a_pool(dials)
    pool.starting = 1
    pool.dial_failed(REFUSED, 0.0)
    opened(pool)
    waits(pool, 3)

    pool.ask(1.0)

    assert pool.failures == 0
    assert pool.last_error is None
    assert dials.count == 3


def test_the_minimum_is_opened_one_by_one():
    dials = Dials()
    pool = a_pool(dials, min_size=2)

    pool.prewarm(0.0)
    pool.prewarm(0.0)
    pool.prewarm(0.0)

    assert dials.count == pool.starting == 2


def test_the_minimum_is_not_opened_while_the_node_refuses():
    dials = Dials()
    pool = a_pool(dials, min_size=2)
    pool.starting = 1
    pool.dial_failed(REFUSED, 0.0)

    pool.prewarm(0.05)
    assert dials.count == 0
    pool.prewarm(0.1)
    assert dials.count == 1


def test_the_minimum_is_not_more_than_there_is_room_for():
    dials = Dials()
    pool = a_pool(dials, size=1, min_size=2)
    opened(pool)

    pool.prewarm(0.0)

    assert dials.count == 0


# What a node refuses...


def test_a_pool_that_is_refused_is_closed_until_a_server_is_let_in():
    dials = Dials()
    pool = a_pool(dials)
    assert pool.has_room
    pool.starting = 1
    pool.dial_failed(refusal("53300", "too many"), 1.0)

    assert pool.refused is not None
    assert pool.is_closed
    assert not pool.has_room
    assert pool.limit == "the node refuses another one: too many (53300)"
    assert pool.statistics().refused is pool.refused
    assert pool.statistics().retry_at == pool.retry_at

    server = opened(pool)
    assert pool.refused is None
    assert not pool.is_closed
    assert pool.has_room
    pool.dial_failed(refusal(), 9.0)
    assert not pool.is_closed  # it has one to give
    assert pool.has_room
    pool.acquire_this(server, a_session())
    assert pool.is_closed


def test_a_closed_pool_tries_again_one_server_at_a_time_and_later_each_time():
    dials = Dials()
    pool = a_pool(dials)
    pool.starting = 1
    pool.is_wanted = True
    pool.dial_failed(refusal(), 1.0)

    pool.try_again(1.0)
    assert dials.count == 0
    pool.try_again(pool.retry_at)
    pool.try_again(pool.retry_at)
    assert dials.count == pool.starting == 1
    assert not pool.is_wanted

    pool.dial_failed(refusal(), 2.0)
    assert pool.retry_at == 2.0 + 2 * BACK_OFF[0]
    pool.forgive()
    pool.try_again(2.0)
    assert dials.count == 2


def test_a_full_pool_does_not_try_for_more():
    dials = Dials()
    pool = a_pool(dials, size=1)
    opened(pool)

    pool.try_again(5.0)

    assert dials.count == 0


def test_attempts_made_together_are_one_failure():
    pool = a_pool()
    pool.starting = 6
    for _ in range(6):
        pool.dial_failed(refusal(), 1.0)

    assert pool.starting == 0
    assert (pool.failures, pool.retry_at) == (1, 1.0 + BACK_OFF[0])


def test_a_node_that_cannot_be_reached_any_more_does_not_refuse():
    pool = a_pool()
    pool.starting = 2
    pool.dial_failed(refusal(), 1.0)
    pool.dial_failed(REFUSED, 1.0)

    assert pool.refused is None
    assert not pool.is_closed
    assert pool.limit == "connection refused"


def test_a_pool_says_which_limit_it_is_at():
    pool = a_pool(size=1)
    assert pool.limit == "one is being opened"
    opened(pool)
    assert pool.limit == "pool.size is 1"


# The reserve...


def test_the_reserve_is_opened_for_those_who_have_waited_long_one_each():
    dials = Dials()
    pool = a_pool(dials, size=1, reserve_size=3, reserve_timeout=5)
    opened(pool)
    waits(pool, 2, since=1.0)
    waits(pool, 2, since=4.0)

    pool.ask(5.9)
    assert dials.count == 0

    pool.ask(6.0)
    pool.ask(6.0)
    assert dials.count == pool.starting == 2

    pool.ask(9.0)
    assert dials.count == 3
    pool.ask(99.0)
    assert dials.count == 3


def test_without_a_timeout_the_reserve_is_not_used():
    dials = Dials()
    pool = a_pool(dials, size=1, reserve_size=3, reserve_timeout=0)
    opened(pool)
    waits(pool, 2)

    pool.ask(1000.0)

    assert dials.count == 0


def test_servers_of_the_reserve_are_too_many_when_nobody_waits():
    pool = a_pool(size=1, reserve_size=1)
    opened(pool)
    assert not pool.has_too_many
    opened(pool)
    assert pool.has_too_many

    waits(pool)
    assert not pool.has_too_many
    opened(pool)
    assert pool.has_too_many


# Quotas...


def test_a_pool_whose_quota_is_used_up_by_another_opens_nothing():
    dials = Dials()
    quota = Quota("max_db_connections", 2)
    pool, other = a_pool(dials, size=5, reserve_size=5), a_pool()
    quota.pools = [pool, other]
    pool.quotas = other.quotas = (quota,)
    assert pool.limit == "one is being opened"
    opened(other)
    waits(pool, 3)

    pool.ask(1000.0)
    pool.ask(1000.0)

    assert dials.count == 1
    assert pool.is_full
    assert pool.limit == "max_db_connections is 2"
    assert not pool.has_too_many
    quota.limit = 1
    assert pool.has_too_many


# Describing itself...


def test_a_pool_counts_its_servers_by_lease_and_its_longest_wait():
    pool = a_pool()
    servers = [opened(pool) for _ in range(7)]
    for server in servers[1:]:
        pool.acquire_this(server, a_session())
    _, _held, lane, unclaimed, rolling_back, resetting, cooling = servers
    lane.share()
    for server in (unclaimed, rolling_back, resetting, cooling):
        server.leave()
    rolling_back.roll_back()
    resetting.reset()
    cooling.cool()
    pool.starting = 1
    waits(pool, since=7.0)
    waits(pool, since=9.0)

    statistics = pool.statistics()

    assert (statistics.node, statistics.database, statistics.user) == ("pg0", "shop", "app")
    assert (statistics.active, statistics.lanes) == (2, 1), (
        "what runs for nobody is active, too"
    )
    assert (statistics.resetting, statistics.cancelled) == (2, 1)
    assert (statistics.idle, statistics.starting, statistics.waiting) == (1, 1, 2)
    assert statistics.oldest_wait == 7.0


def test_nobody_has_waited_where_nobody_waits():
    assert a_pool().statistics().oldest_wait == math.inf


def test_a_pool_says_whose_it_is_and_how_it_is():
    pool = a_pool()
    opened(pool)

    assert repr(pool) == "<Pool pg0/shop/app [1 servers, 1 idle, 0 starting, 0 waiting]>"


def test_after_a_server_of_no_use_the_next_one_waits():
    dials = Dials()
    pool = a_pool(dials)
    waits(pool, 1)
    opened(pool)

    pool.put_off(0.0)
    pool.ask(0.05)
    assert dials.count == 0
    pool.ask(0.1)
    assert dials.count == 1


# Servers that sessions keep...


def kept(pool: Pool, pin: PinReason | None = PinReason.LISTEN) -> Server:
    """Open a server and let a session with *pin* hold it."""
    server = opened(pool)
    assert pool.acquire(a_session(pin=pin)) is server
    return server


def test_what_pinned_sessions_keep_does_not_count_up_to_as_many_as_the_size():
    dials = Dials()
    pool = a_pool(dials, size=2)
    for number in range(4):
        assert not pool.is_full, number
        kept(pool)
    assert pool.is_full
    waits(pool)
    pool.ask(0.0)
    assert dials.count == 0


@pytest.mark.parametrize("pin", [None, PinReason.SESSION_MODE])
def test_what_else_is_held_counts(pin: PinReason | None):
    pool = a_pool(size=2)
    kept(pool, pin)
    kept(pool, pin)
    assert pool.is_full


def test_a_server_beside_kept_ones_is_no_surplus():
    pool = a_pool(size=2)
    holding = [kept(pool) for _ in range(2)]
    opened(pool)
    assert not pool.has_too_many
    for server in holding:
        server.leave()  # what they were kept for is gone
    assert pool.has_too_many


def test_the_reserve_comes_on_top_of_kept_servers():
    dials = Dials()
    pool = a_pool(dials, size=1, reserve_size=1, reserve_timeout=1)
    kept(pool)
    kept(pool, None)
    assert pool.is_full
    waits(pool, 2)
    pool.ask(2.0)
    assert dials.count == 1
