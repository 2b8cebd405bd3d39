"""A server that knows far more statements than it may keep forgets them little by little."""

from __future__ import annotations

from rwsplit.protocol.framing import split
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.prepared import SYNC, Prepared
from rwsplit.session.teaching import MOST_CLOSED, ServerState, compose
from tests.support.frames import bind, close, describe, execute, parse

RUN = bind() + execute() + SYNC


def sends(server: ServerState, needs: list[Prepared], limit: int) -> list[bytes]:
    """Return the messages that *server*, which may keep *limit* statements, gets for a unit that uses *needs*."""
    compose(server, [RUN], needs, None, [], unnamed=None, limit=limit)
    sent = b"".join(server.out)
    server.out.clear()
    return [sent[start:end] for _, start, end in split(sent)]


def taught(prepared: Prepared) -> list[bytes]:
    name = prepared.name.decode()
    return [parse(name, prepared.query.decode()), describe(name)]


def test_no_unit_waits_until_a_server_has_closed_all_that_it_has_too_many_of(
    knowledge: Knowledge,
):
    statements = [
        knowledge.prepared.get(b"select %d\0\0\0" % number)
        for number in range(2 * MOST_CLOSED + 10)
    ]
    *old, one, other = statements
    server = ServerState()
    sends(server, old, limit=len(statements))
    run = [RUN[start:end] for _, start, end in split(RUN)]

    for new, closed in ((one, old[:MOST_CLOSED]), (other, old[MOST_CLOSED : 2 * MOST_CLOSED])):
        expected = [close(each.name.decode()) for each in closed]
        assert sends(server, [new], limit=2) == [*expected, *taught(new), *run]
    assert list(server.known) == [*old[2 * MOST_CLOSED :], one, other]
