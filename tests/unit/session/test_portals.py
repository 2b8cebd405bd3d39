"""Which portals a unit leaves to be executed further."""

from __future__ import annotations

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.portals import closes_portal, keeps_portal
from rwsplit.session.session import Session
from tests.support.messages import (
    SYNC,
    bind,
    close_statement,
    execute,
    parse as parse_message,
)
from tests.unit.session.pieces import one as unit_of


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (bind() + execute() + SYNC, False),
        (bind() + execute(limit=1) + SYNC, False),
        (bind() + execute(limit=1) + bind() + execute(limit=1) + SYNC, False),
        (bind() + execute(limit=1) + bind() + SYNC, True),
        (bind() + SYNC, True),
        (bind(portal="p") + execute("p", limit=1) + SYNC, True),
        (bind(portal="p") + bind() + execute(limit=1) + SYNC, True),
    ],
)
def test_which_portals_are_kept(session: Session, messages: bytes, expected: bool):
    assert keeps_portal(unit_of(session, parse_message("select 1") + messages)) is expected


def test_a_unit_that_goes_on_may_keep_the_portal_that_its_limit_has_stopped(session: Session):
    unit = unit_of(session, parse_message("select 1") + bind() + execute(limit=1) + SYNC)
    unit.is_open = True  # as if it had been sent on without its Sync
    assert keeps_portal(unit)


@pytest.mark.parametrize(
    ("closed", "expected"),
    [(frame(codes.CLOSE, b"P\0"), True), (close_statement("a"), False), (b"", False)],
)
def test_a_unit_closes_a_portal_and_not_a_statement(
    session: Session, closed: bytes, expected: bool
):
    unit = unit_of(session, parse_message("select 1") + bind() + execute() + closed + SYNC)
    assert closes_portal(unit) is expected
