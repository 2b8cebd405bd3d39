"""Four times as many messages take four times the work, not sixteen times.

Counted twice: functions called, and, since a scan of a list or a copy of a dict calls none, CPU time. That is compared with
itself, and best of several, so that a slow machine does not matter.
"""

from __future__ import annotations

import select
import struct
import sys

import pytest

from tests.support import frames
from tests.support.counted_turns import counted
from tests.support.memory_relay import MemoryRelay, wire_of

#: How much more four times as much may take, in calls and in time.
MORE_CALLS = 5.0
MORE_TIME = 9.0
FEW = 100
MANY = 2000
ATTEMPTS = 4
#: Seconds that are few enough whatever is compared; what was quadratic took several times as long.
NOTHING = 0.15


def _parses(n: int) -> bytes:
    return b"".join(frames.parse(f"s{i}", f"select {i}") for i in range(n)) + frames.SYNC


def _same_parses(n: int) -> bytes:
    return b"".join(frames.parse(f"s{i}", "select 1") for i in range(n)) + frames.SYNC


def _portals(n: int) -> bytes:
    begin = frames.query("begin")
    bound = b"".join(frames.bind("", portal=f"p{i}") for i in range(n))
    return begin + frames.parse("", "select 1") + bound + frames.SYNC


def _portals_one_by_one(n: int) -> bytes:
    begin = frames.query("begin") + frames.parse("s", "select 1") + frames.SYNC
    return begin + b"".join(frames.bind("s", portal=f"p{i}") + frames.SYNC for i in range(n))


def _closes(n: int) -> bytes:
    made = b"".join(frames.parse(f"s{i}", "select 1") for i in range(n)) + frames.SYNC
    return made + b"".join(frames.close(f"s{i}") for i in range(n)) + frames.SYNC


def _describes(n: int) -> bytes:
    return frames.parse("s", "select 1") + frames.describe("s") * n + frames.SYNC


def _portal_describes(n: int) -> bytes:
    one = frames.bind("s") + frames.describe_portal() + frames.execute()
    return frames.parse("s", "select 1") + one * n + frames.SYNC


def _many_bound(n: int) -> bytes:
    one = b"".join(
        frames.bind(f"s{i}") + frames.describe_portal() + frames.execute() for i in range(n)
    )
    return _same_parses(n) + one + frames.SYNC


def _unnamed(n: int) -> bytes:
    one = b"".join(
        frames.parse("", f"select {i % 7}") + frames.bind() + frames.execute() for i in range(n)
    )
    return one + frames.SYNC


def _unnamed_described(n: int) -> bytes:
    one = b"".join(
        frames.parse("", f"select {i % 7}")
        + frames.describe("")
        + frames.bind()
        + frames.execute()
        for i in range(n)
    )
    return one + frames.SYNC


def _flushed(n: int) -> bytes:
    one = b"".join(
        frames.parse(f"s{i}", f"select {i}")
        + frames.bind(f"s{i}")
        + frames.execute()
        + frames.FLUSH
        for i in range(n)
    )
    return one + frames.SYNC


def _sets_in_one_unit(n: int) -> bytes:
    one = (
        frames.parse("", "set work_mem = '4MB'")
        + frames.bind()
        + frames.execute()
        + frames.FLUSH
    )
    return one * n + frames.SYNC


def _without_sync(n: int) -> bytes:
    return (frames.parse("", "select 1") + frames.bind() + frames.execute()) * n + frames.SYNC


def _tiny_queries(n: int) -> bytes:
    return b"".join(frames.query(f"select {i}") for i in range(n))


def _writes(n: int) -> bytes:
    return frames.query("insert into t values (1)") * n


def _statements_in_one(n: int) -> bytes:
    return frames.query(";".join(["select 1"] * min(n, 300)))


def _copy(n: int) -> bytes:
    data = frames.message("d", b"1\n") * n
    return frames.query("copy t from stdin") + data + frames.message("c")


def _parameters(n: int) -> bytes:
    values = struct.pack("!i", 1) + b"x"
    bound = b"\0s\0" + struct.pack("!hh", 0, n) + values * n + struct.pack("!h", 0)
    return (
        frames.parse("s", "select 1")
        + frames.message("B", bound)
        + frames.execute()
        + frames.SYNC
    )


def _names_and_discard(n: int) -> bytes:
    return _parses(n) + frames.query("discard all")


def _names_and_deallocate(n: int) -> bytes:
    return _parses(n) + frames.query("deallocate all")


def _begins(n: int) -> bytes:
    return (frames.query("begin") + frames.query("commit")) * n


def _savepoints(n: int) -> bytes:
    one = b"".join(frames.query(f"savepoint s{i}") for i in range(n))
    return frames.query("begin") + one + frames.query("rollback to s0") + frames.query("commit")


def _modes(n: int) -> bytes:
    one = frames.query("set transaction isolation level read committed")
    return frames.query("begin") + one * n + frames.query("commit")


def _executes_by_name(n: int) -> bytes:
    one = frames.parse("", "execute s") + frames.bind() + frames.execute()
    return frames.parse("s", "select 1") + frames.SYNC + one * n + frames.SYNC


def _again(n: int) -> bytes:
    """The name is in use: each is refused, but that is for the server to say."""
    return frames.parse("s", "select 1") * n + frames.SYNC


def _flushes(n: int) -> bytes:
    return (
        frames.query("begin") + (frames.parse("", "select 1") + frames.FLUSH) * n + frames.SYNC
    )


def _functions(n: int) -> bytes:
    return frames.call(1299) * n


CONVERSATIONS = [
    value
    for name, value in sorted(globals().items())
    if name.startswith("_") and callable(value) and getattr(value, "__module__", "") == __name__
]


def copying(message: bytes) -> bytes | None:
    """Answer COPY as PostgreSQL does."""
    return frames.message("G", b"\0\0\0") if b"copy t from" in message else None


def in_transaction(message: bytes) -> bytes | None:
    """Answer what is said in a transaction."""
    if message[:1] == b"S":
        return frames.ready("T")
    if message[:1] == b"Q":
        status = (
            "I" if b"commit" in message.lower() or b"rollback\0" in message.lower() else "T"
        )
        return frames.message("C", b"SET\0") + frames.ready(status)
    return None


SPECIAL = {
    _copy: copying,
    _portals: in_transaction,
    _portals_one_by_one: in_transaction,
    _savepoints: in_transaction,
    _modes: in_transaction,
    _begins: in_transaction,
    _flushes: in_transaction,
}


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda c: c.__name__.strip("_"))
def test_four_times_as_many_take_four_times_the_calls(conversation):
    few, many = (
        counted(conversation(n), special=SPECIAL.get(conversation)).calls
        for n in (FEW, 4 * FEW)
    )
    assert many <= MORE_CALLS * few, f"{many / few:.1f} times the calls"


FLOODS = {
    "notices": frames.notice(),
    "parameters": frames.parameter("application_name", "x"),
    "notifications": frames.notification("channel"),
    "rows": frames.row("1"),
}


@pytest.mark.parametrize("is_listening", [False, True])
@pytest.mark.parametrize("kind", FLOODS)
def test_what_a_server_says_takes_work_in_proportion(kind: str, is_listening: bool):
    few, many = (flooded(FLOODS[kind], n, is_listening=is_listening) for n in (FEW, 4 * FEW))
    assert many <= MORE_CALLS * few


def flooded(message: bytes, count: int, *, is_listening: bool) -> int:
    """Return the calls it takes that a server says *message* so often within one answer, in reads of 1000 bytes."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.ask(client, b"listen channel" if is_listening else b"select 1")
    rig.turn_clients([client])
    [server] = rig.busy()
    if is_listening:
        rig.turn_servers([(server, frames.complete("LISTEN") + frames.ready())])
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
    said = message * count + frames.complete() + frames.ready()
    calls = 0

    def count_call(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    for at in range(0, len(said), 1000):
        wire_of(server).incoming = said[at : at + 1000]
        sys.setprofile(count_call)
        try:
            rig.relay.turn([(server.fd, select.EPOLLIN)])
        finally:
            sys.setprofile(None)
    assert client.in_flight == 0
    return calls


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda c: c.__name__.strip("_"))
def test_four_times_as_many_take_four_times_the_time(conversation):
    special = SPECIAL.get(conversation)
    ratios = []
    for _ in range(ATTEMPTS):
        few, many = (
            min(
                counted(conversation(n), profile=False, special=special).seconds
                for _ in range(2)
            )
            for n in (MANY, 4 * MANY)
        )
        ratios.append(many / few)
        if many <= NOTHING or ratios[-1] <= MORE_TIME:
            return
    raise AssertionError(f"{min(ratios):.1f} times the time")
