"""Sequences: currval and lastval say what the session itself has drawn, on servers that others draw on, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.differential import Differential, say
from tests.support.messages import FLUSH, SYNC, bind, describe_portal, execute, parse, query
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

Undefined = psycopg.errors.ObjectNotInPrerequisiteState


@pytest.fixture(scope="module")
def crowded(
    cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server of the primary for all sessions."""
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table numbered (id serial, a int)")
        connection.execute("create table plain (a int)")
        connection.execute("create sequence drawn start 1000")
        connection.execute("insert into plain values (1)")
        cluster.wait_until_replayed()
        with Proxy(cluster, tmp_path_factory.mktemp("proxy"), {"pool": {"size": 1}}) as made:
            yield made
        connection.execute("drop table numbered, plain")
        connection.execute("drop sequence drawn")


def draw(proxy: Proxy) -> psycopg.Connection[Any]:
    """A session that has drawn on the server, and is still there."""
    connection = proxy.connect(prepare_threshold=None)
    connection.execute("insert into numbered (a) values (1)")
    connection.execute("select nextval('drawn')")
    return connection


ASKED: list[LiteralString] = [
    "select lastval()",
    "select currval('drawn')",
    "insert into plain select lastval()",
    "explain analyze select lastval()",
    "do $$ begin execute 'select lastval()'; end $$",
]


@pytest.mark.parametrize("ask", ASKED)
def test_what_another_session_has_drawn_is_not_seen_behind_a_write(
    crowded: Proxy, ask: LiteralString
):
    with draw(crowded), crowded.connect(prepare_threshold=None) as other:
        other.execute("update plain set a = 2")
        with pytest.raises(Undefined):
            other.execute(ask)


@pytest.mark.parametrize("ask", ASKED)
def test_what_another_session_has_drawn_is_not_seen_in_a_transaction(
    crowded: Proxy, ask: LiteralString
):
    with draw(crowded), crowded.connect(prepare_threshold=None) as other:
        other.execute("begin")
        other.execute("update plain set a = 2")
        with pytest.raises(Undefined):
            other.execute(ask)
        other.execute("rollback")


def test_nor_with_statements_prepared_by_either_protocol(crowded: Proxy):
    with draw(crowded), crowded.connect() as other:
        other.execute("update plain set a = 2")
        other.execute("prepare p as select lastval()")
        with pytest.raises(Undefined):
            other.execute("execute p")
    with draw(crowded), crowded.connect() as other:
        for _ in range(2):
            other.execute("update plain set a = 2")
            with pytest.raises(Undefined):
                other.execute("select lastval()", prepare=True)
            other.execute("discard all")


def test_nor_while_it_is_pinned(crowded: Proxy):
    with draw(crowded), crowded.connect(prepare_threshold=None) as other:
        other.execute("listen somebody")
        with pytest.raises(Undefined):
            other.execute("select lastval()")


def test_nor_in_one_query_or_pipeline(crowded: Proxy):
    with draw(crowded), crowded.connect(prepare_threshold=None) as other:
        cursor = psycopg.ClientCursor(other)
        with pytest.raises(Undefined):
            cursor.execute("update plain set a = 2; select lastval()")
    with draw(crowded), crowded.raw() as raw:
        raw.send(parse("update plain set a = 2"), bind(), execute(), FLUSH)
        raw.frames_until(b"C")
        raw.send(parse("select lastval()"), bind(), execute(), SYNC)
        frames = raw.frames_until(b"Z")
        assert any(b"C55000\0" in frame for _, frame in frames)


def test_what_it_has_drawn_itself_is_seen_however_many_draw(crowded: Proxy):
    with draw(crowded) as one, crowded.connect(prepare_threshold=None) as other:
        with pytest.raises(Undefined):
            other.execute("select currval('drawn')")
        other.execute("discard all")
        for session in (one, other, one, other):
            session.execute("begin")
            session.execute("update plain set a = 2")
            [(drawn,)] = session.execute("insert into numbered (a) values (1) returning id")
            assert session.execute("select lastval()").fetchone() == (drawn,)
            session.execute("commit")
            session.execute("discard all")
            [(drawn,)] = session.execute("insert into numbered (a) values (1) returning id")
            assert session.execute("select lastval()").fetchone() == (drawn,)
            session.execute("discard all")
            with pytest.raises(Undefined):
                session.execute("select lastval()")
            session.execute("discard all")


def test_a_failed_transaction_says_so_all_the_same(crowded: Proxy):
    with draw(crowded), crowded.raw() as raw:
        raw.send(query("begin"))
        raw.frames_until(b"Z")
        raw.send(query("select 1/0"), query("select lastval()"), query("rollback"))
        codes = [raw.frames_until(b"Z") for _ in range(3)]
        assert any(b"C25P02\0" in frame for _, frame in codes[1])
        raw.send(query("select 1"))
        assert raw.frames_until(b"Z")[-1][1][-1:] == b"I"


def test_a_transaction_may_still_choose_its_isolation(crowded: Proxy):
    """What keeps sequences apart takes a snapshot, and SET TRANSACTION must come before any."""
    chosen = (
        "set transaction isolation level repeatable read; insert into numbered (a) values (1)"
    )
    with draw(crowded), crowded.connect(prepare_threshold=None) as other:
        other.execute("begin")
        other.execute(chosen)
        found = other.execute("select lastval() = max(id) from numbered").fetchone()
        assert found == (True,)
        other.execute("commit")


def test_a_chained_transaction_may_still_choose_its_isolation(
    crowded: Proxy, cluster: EmbeddedCluster
):
    with draw(crowded):
        pass
    Differential(cluster, crowded)(
        say(query("begin; rollback and chain")),
        say(parse("show work_mem") + bind() + execute() + FLUSH, SYNC),
        say(query("set transaction isolation level repeatable read")),
        say(query("rollback")),
    )


def test_its_portal_outlives_the_parting(crowded: Proxy, cluster: EmbeddedCluster):
    differential = Differential(cluster, crowded)
    for rest in (describe_portal() + query("select 1"), describe_portal() + SYNC):
        with draw(crowded):
            pass
        differential(
            say(parse("begin", "b") + SYNC),
            say(bind("b") + describe_portal() + execute(limit=2) + SYNC),
            say(rest),
            say(query("rollback")),
        )
