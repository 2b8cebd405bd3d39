"""What a storm has taken is given back when it is over, or used again by the next one."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from rwsplit.session import prepared
from rwsplit.session.prepared import PreparedRegistry
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook
from tests.support import frames
from tests.support.counted_turns import Taken, counted

#: Of rwsplit's own things, how many may stay for each statement a server or the process remembers.
ROOM = 3
STORM = 3000
MOST_BYTES = 1 << 20


def things() -> Counter[str]:
    """Count rwsplit's objects by type."""
    gc.collect()
    return Counter(
        type(thing).__name__
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("rwsplit.")
    )


def named(n: int) -> bytes:
    return (
        b"".join(frames.parse(f"s{i}", f"select {i} as a{i}") for i in range(n)) + frames.SYNC
    )


def tells_apart(n: int) -> bytes:
    return (
        b"".join(
            frames.parse("", f"select {i}")
            + frames.describe("")
            + frames.bind()
            + frames.execute()
            for i in range(n)
        )
        + frames.SYNC
    )


def many_units(n: int) -> bytes:
    return frames.query("select pg_sleep(1)") + frames.SYNC * n


def held(taken: Taken) -> int:
    """Return how many statements the session and its servers know."""
    servers = taken.rig.relay.servers.values()
    return len(taken.client.names) + sum(len(server.known) for server in servers)


@pytest.mark.parametrize("storm", [tells_apart, many_units])
def test_what_is_over_leaves_nothing(storm):
    before = things()
    taken = counted(storm(STORM), profile=False)
    assert held(taken) <= 2
    after = things()
    for kind in ("Unit", "Piece", "Chunk", "Lesson", "Look", "Renaming", "Assembly"):
        assert after[kind] - before[kind] <= 20, kind


def test_statements_that_are_closed_are_forgotten():
    storm = named(STORM) + b"".join(frames.close(f"s{i}") for i in range(STORM)) + frames.SYNC
    taken = counted(storm, profile=False)
    assert not taken.client.names
    assert taken.client.names.size == 0
    assert taken.client.names.__sizeof__() < 1000


def test_servers_go_back_to_their_limit_little_by_little():
    """A unit of more statements than a server is to keep is run all the same."""
    again = b"".join(frames.parse(f"t{i}", f"select {i}, 1") + frames.SYNC for i in range(200))
    taken = counted(named(STORM) + again, profile=False)
    limit = taken.rig.relay.config.limits.max_prepared_statements
    assert max(len(server.known) for server in taken.rig.relay.servers.values()) <= limit


def test_a_session_that_ends_leaves_what_the_process_remembers():
    before = things()["Prepared"]
    taken = counted(named(STORM) + frames.TERMINATE, profile=False)
    assert taken.client.closed
    kept = things()["Prepared"] - before
    assert kept <= STORM * ROOM
    del taken
    assert things()["Prepared"] <= before + 10


def test_what_is_remembered_of_long_texts_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prepared, "MOST_BYTES", MOST_BYTES)
    registry = PreparedRegistry(StatementCache(FunctionBook(), size=10))
    text = b"select '" + b"x" * 15_000 + b"' as a%d\0\0\0"
    for number in range(2 * MOST_BYTES // 15_000):
        registry.get(text.replace(b"%d", b"%d" % number))
    assert registry._weight <= MOST_BYTES
    assert registry._weight == sum(len(key[1]) for key in registry._by_key)
    for known in list(registry._by_key.values()):
        registry.retire(known)
    assert registry._weight == 0
