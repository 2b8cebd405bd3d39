"""A session may name so many statements; one more is refused, and nothing else changes."""

from __future__ import annotations

import pytest

from rwsplit.protocol.refusals import sqlstate
from rwsplit.session.frames import STEPS_LIMIT
from rwsplit.session.names import BYTES_PER_NAME
from rwsplit.session.prepared import TOO_MANY, TOO_MANY_PORTALS
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import ORPHAN
from rwsplit.session.unit import Unit
from tests.support.frames import (
    SYNC,
    bind,
    close,
    describe,
    error,
    execute,
    parse,
    query,
)
from tests.unit.session.pieces import one, said, spelled

REFUSED = describe(TOO_MANY.decode())


@pytest.fixture
def limited(session: Session) -> Session:
    session.names.most = 3
    for name in "abc":
        one(session, parse(name, f"select '{name}'") + SYNC)
    return session


def test_one_more_is_something_postgresql_refuses(limited: Session):
    unit = one(limited, parse("d", "select 4") + bind("d") + execute() + SYNC)

    assert spelled(unit) == REFUSED + bind("d") + execute() + SYNC
    assert unit.script is not None
    assert unit.script.primary_only is ORPHAN.primary_only
    assert b"d" not in limited.names


def test_the_error_says_what_to_do(limited: Session):
    unit = one(limited, parse("d", "select 4") + SYNC)

    told = unit.reword(
        error("26000", f'prepared statement "{TOO_MANY.decode()}" does not exist')
    )
    assert sqlstate(told) == b"53400"
    assert b"more than 3 prepared statements" in told
    assert b"limits.max_statements_per_client" in told
    assert TOO_MANY not in told


def test_a_name_that_is_closed_makes_room(limited: Session):
    one(limited, close("a") + SYNC)
    unit = one(limited, parse("d", "select 4") + SYNC)

    assert REFUSED not in spelled(unit)
    assert b"d" in limited.names


def test_names_it_has_are_used_as_ever(limited: Session):
    unit = one(limited, bind("a") + execute() + SYNC)
    assert unit.piece.needs == [limited.names[b"a"]]
    again = one(limited, parse("a", "select 1") + SYNC)  # 42P05, as PostgreSQL says it
    assert REFUSED not in spelled(again)
    unnamed = one(limited, parse("", "select 1") + bind() + execute() + SYNC)
    assert REFUSED not in spelled(unnamed)


def test_prepare_in_sql_counts_too(limited: Session):
    unit = one(limited, query("prepare d as select 4"))
    assert spelled(unit) == query("EXECUTE rwsplit_too_many")
    one(limited, close("a") + SYNC)
    unit = one(limited, query("prepare d as select 4"))
    assert spelled(unit) == query("prepare d as select 4")
    unit = one(limited, query("prepare e as select 5"))
    assert spelled(unit) == query("EXECUTE rwsplit_too_many")


def test_long_texts_count_for_more(session: Session):
    session.names.most = 3
    text = "select '" + "x" * 3 * BYTES_PER_NAME + "'"
    one(session, parse("a", text) + SYNC)
    assert REFUSED in spelled(one(session, parse("b", "select 1") + SYNC))
    one(session, close("a") + SYNC)
    assert session.names.size == 0
    assert REFUSED not in spelled(one(session, parse("b", "select 1") + SYNC))


def test_what_a_failed_unit_did_to_names_does_not_count(session: Session):
    session.receive(parse("a", "select 1") + SYNC)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    assert session.names.size > 0
    unit.failed = True
    unit.settle_names()
    assert session.names.size == 0


def test_portals_between_two_syncs_are_counted(session: Session):
    session.names.most = 3
    one(session, parse("s", "select 1") + SYNC)
    portals = b"".join(bind("s", portal=f"p{n}") for n in range(4))
    unit = one(session, portals + SYNC)
    refused = describe(TOO_MANY_PORTALS.decode())
    assert spelled(unit).endswith(refused + SYNC)
    told = unit.reword(
        error("26000", f'prepared statement "{TOO_MANY_PORTALS.decode()}" does not exist')
    )
    assert sqlstate(told) == b"53400"
    assert b"named portals" in told
    assert refused not in spelled(one(session, portals[: 3 * len(portals) // 4] + SYNC))


def test_names_that_are_gone_leave_no_room_taken(session: Session):
    small = session.names.__sizeof__()
    one(session, b"".join(parse(f"s{n}", "select 1") for n in range(1000)) + SYNC)
    assert session.names.__sizeof__() > 10 * small
    one(session, b"".join(close(f"s{n}") for n in range(1000)) + SYNC)
    assert session.names.__sizeof__() <= small


def test_a_unit_of_too_many_messages_is_opened(session: Session):
    messages = b"".join(bind() for _ in range(STEPS_LIMIT + 1))
    found = said(session, parse("", "select 1") + messages, execute() + SYNC)
    assert [type(item).__name__ for item in found] == ["Unit", "Chunk"]
    [unit, chunk] = found
    assert isinstance(unit, Unit)
    assert unit.is_open
    assert spelled(chunk) == execute() + SYNC


def test_a_unit_cannot_name_and_close_statements_for_ever(session: Session):
    """What it has done to names is remembered up to its Sync."""
    session.names.most = 3
    cycle = parse("a", "select 1") + close("a")
    unit = one(session, cycle * 20 + SYNC)
    assert REFUSED in spelled(unit)
    assert spelled(unit).count(REFUSED) < 20
    assert REFUSED not in spelled(one(session, cycle * 3 + SYNC))
