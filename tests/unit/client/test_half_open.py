"""Who is counted before it has logged in, and who makes room."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from rwsplit.client.half_open import SILENT, SPARED, SPEAKING, Entry, HalfOpen


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    for sock in made.sockets:
        sock.close()


class Crowd:
    """Clients of a `HalfOpen`."""

    def __init__(self) -> None:
        self.half_open = HalfOpen()
        self.sockets: list[socket.socket] = []

    def comes(self, *, says: bytes = b"", speaks: bool = False) -> Entry:
        """A client comes and has sent *says*, which is not read yet; *speaks*: something has been read of it."""
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        theirs.sendall(says)
        entry = self.half_open.enter(ours.fileno(), trio.current_time())
        if speaks:
            self.half_open.spoke(entry)
        return entry


async def test_who_has_left_is_not_counted_and_may_leave_again(crowd):
    silent, speaking = crowd.comes(), crowd.comes(speaks=True)
    assert len(crowd.half_open) == 2

    for entry in (silent, speaking, silent):
        crowd.half_open.leave(entry)
    crowd.half_open.spoke(silent)

    assert len(crowd.half_open) == 0


async def test_the_oldest_that_has_said_nothing_goes_first(crowd, autojump_clock):
    speaking = crowd.comes(speaks=True)
    await trio.sleep(1)
    silent, newer = crowd.comes(), crowd.comes()
    assert crowd.half_open.oldest() is silent

    await crowd.half_open.wait_for_room(3)

    assert silent.is_dropped
    assert silent.scope.cancel_called
    assert [newer.is_dropped, speaking.is_dropped] == [False, False]
    assert trio.current_time() == pytest.approx(1 + SILENT)
    assert crowd.half_open.dropped == 1


async def test_who_has_said_something_has_longer(crowd, autojump_clock):
    first, second = crowd.comes(speaks=True), crowd.comes(speaks=True)
    assert crowd.half_open.oldest() is first

    await crowd.half_open.wait_for_room(2)

    assert (first.is_dropped, second.is_dropped) == (True, False)
    assert trio.current_time() == pytest.approx(SPEAKING)


async def test_what_rwsplit_has_not_read_yet_counts(crowd, autojump_clock):
    waiting = crowd.comes(says=b"\0")
    silent = crowd.comes()

    await crowd.half_open.wait_for_room(2)

    assert (waiting.is_dropped, silent.is_dropped) == (False, True)


async def test_a_crowd_that_waits_for_rwsplit_is_spared(crowd, autojump_clock, nursery):
    entries = [crowd.comes(says=b"proof", speaks=True) for _ in range(5)]

    async def work() -> None:
        await trio.sleep(5 * SPEAKING)
        crowd.half_open.leave(entries[-1])

    nursery.start_soon(work)
    await crowd.half_open.wait_for_room(5)

    assert not any(entry.is_dropped for entry in entries)
    assert trio.current_time() == pytest.approx(5 * SPEAKING)


async def test_who_never_stops_talking_is_not_spared_for_ever(crowd, autojump_clock):
    """A thousand that sent a byte every 10 ms kept everybody out for `client_login_timeout`."""
    entries = [crowd.comes(says=b"\0" * 100, speaks=True) for _ in range(5)]

    await crowd.half_open.wait_for_room(5)

    assert [entry.is_dropped for entry in entries] == [True, False, False, False, False]
    assert trio.current_time() == pytest.approx((SPARED + 1) * SPEAKING)


async def test_nobody_is_dropped_while_they_log_in(crowd, autojump_clock, nursery):
    entry = crowd.comes(speaks=True)

    async def log_in() -> None:
        await trio.sleep(SPEAKING / 2)
        crowd.half_open.leave(entry)

    nursery.start_soon(log_in)
    await crowd.half_open.wait_for_room(1)

    assert not entry.is_dropped
    assert trio.current_time() == pytest.approx(SPEAKING / 2)


async def test_without_anybody_there_is_nobody_to_drop(crowd):
    assert crowd.half_open.oldest() is None
    await crowd.half_open.wait_for_room(1)
