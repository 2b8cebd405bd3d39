"""What a replica refuses because it has not replayed it yet: the client never hears of it, whatever the error says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

BEFORE = """
    drop role if exists unreplayed_role;
    drop role if exists unreplayed_other;
    drop schema if exists unreplayed cascade;
    create schema unreplayed;
    grant usage on schema unreplayed to app;
    set search_path = unreplayed;
    create type mood as enum ('old');
    create table moods (m mood);
    insert into moods values ('old');
    create table private (a int);
    insert into private values (1);
    create table wide (a int, b int);
    create table narrow (a int);
    create domain small as int check (value < 10);
    create function corrected() returns int stable language plpgsql as
        $$ begin raise exception 'not yet'; end $$;
    grant select on moods, wide, narrow to app;
"""
MEANWHILE = """
    create role unreplayed_role;
    grant unreplayed_role to app;
    create role unreplayed_other;
    set search_path = unreplayed;
    alter type mood add value 'new';
    grant select on private to app;
    alter table narrow add column b int;
    alter domain small drop constraint small_check;
    create or replace function corrected() returns int stable language plpgsql as
        $$ begin return 5; end $$;
    create text search configuration words (copy = simple);
    create schema unreplayed_too;
    grant usage on schema unreplayed_too to app;
    create table unreplayed_too.t as select 8 as a;
    grant select on unreplayed_too.t to app;
"""
AFTER = """
    drop schema unreplayed cascade;
    drop schema unreplayed_too cascade;
    drop role unreplayed_role;
    drop role unreplayed_other;
"""

#: What is asked, and what the primary answers to it.
MEMBERS = [
    ("select count(*) from unreplayed.moods where m = 'new'", 0),
    ("select 'new'::unreplayed.mood::text", "new"),
    ("select a from unreplayed.private", 1),
    ("select count(*) from (table unreplayed.wide union table unreplayed.narrow) t", 0),
    ("select 12::unreplayed.small", 12),
    ("select unreplayed.corrected()", 5),
    ("select pg_has_role('app', 'unreplayed_other', 'member')", False),
    ("select 'unreplayed_other'::regrole::text", "unreplayed_other"),
    ("select a from unreplayed_too.t", 8),
    ("select has_schema_privilege('unreplayed_too', 'usage')", True),
    ("select has_table_privilege('unreplayed_too.t', 'select')", True),
    ("select to_tsvector('unreplayed.words', 'x')::text", "'x':1"),
    ("set role unreplayed_role", None),
    ("set local role unreplayed_role", None),
    ("set default_text_search_config = 'unreplayed.words'", None),
    ("set local default_text_search_config = 'unreplayed.words'", None),
]


@contextmanager
def unreplayed(cluster: EmbeddedCluster) -> Iterator[None]:
    """Every replica has what BEFORE defines and lacks what MEANWHILE does, which came by another way."""
    cluster.primary.query(BEFORE, database="app")
    cluster.wait_until_replayed()
    for node in cluster.replicas:
        node.query("select pg_wal_replay_pause()")
    try:
        cluster.primary.query(MEANWHILE, database="app")
        yield
    finally:
        for node in cluster.replicas:
            node.query("select pg_wal_replay_resume()")
        cluster.wait_until_replayed()
        cluster.primary.query(AFTER, database="app")


@pytest.fixture(
    scope="module"
)  # what needs the cluster otherwise stands in front of its first use
def lagging(
    shared_fragile_cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    settings = {"consistency": {"max_lag": "1h"}}
    with (
        Proxy(shared_fragile_cluster, tmp_path_factory.mktemp("lagging"), settings) as proxy,
        unreplayed(shared_fragile_cluster),
    ):
        yield proxy


def ask(connection: psycopg.Connection[Any], statement: str, **how: Any) -> object:
    cursor = connection.execute(statement, **how)
    row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def assert_reads_on_a_replica(connection: psycopg.Connection[Any]) -> None:
    ask(connection, "select 1")
    assert "primary" not in str(ask(connection, "show rwsplit.last_route"))


def plainly(proxy: Proxy, statement: str) -> object:
    with closing(proxy.connect()) as connection:
        return ask(connection, statement)


def prepared(proxy: Proxy, statement: str) -> object:
    with closing(proxy.connect()) as connection:
        return ask(connection, statement, prepare=True)


def first_in_a_transaction(proxy: Proxy, statement: str) -> object:
    with closing(proxy.connect()) as connection:
        connection.execute("begin")
        return ask(connection, statement)


def second_in_a_transaction(proxy: Proxy, statement: str) -> object:
    with closing(proxy.connect()) as connection:
        connection.execute("begin")
        assert_reads_on_a_replica(connection)
        return ask(connection, statement)


def test_an_application_that_fails_in_a_loop_does_not_fall_on_the_primary(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    answered = 0
    with proxy.connect() as connection:
        for _ in range(500):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation):
                connection.execute("select 'x'::int")
            answered += "primary" not in str(ask(connection, "show rwsplit.last_route"))
    assert answered > 100


def test_without_a_primary_the_replicas_error_is_the_answer(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection:
        assert_reads_on_a_replica(connection)
        fragile_cluster.primary.stop()
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select from unreplayed_nosuch")


@pytest.mark.parametrize(("statement", "answer"), MEMBERS)
@pytest.mark.parametrize(
    "way", [plainly, prepared, first_in_a_transaction, second_in_a_transaction]
)
def test_what_a_replica_has_not_replayed_is_asked_of_the_primary(
    lagging: Proxy, way: Callable[[Proxy, str], object], statement: str, answer: object
):
    assert way(lagging, statement) == answer


def test_it_says_why(lagging: Proxy):
    with closing(lagging.connect()) as connection:
        assert ask(connection, "select a from unreplayed.private") == 1
        assert "RETRIED_NOT_REPLAYED" in str(ask(connection, "show rwsplit.last_route"))


def test_an_error_that_is_one_everywhere_reaches_the_client(lagging: Proxy):
    with closing(lagging.connect()) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / 0")
        assert_reads_on_a_replica(connection)
