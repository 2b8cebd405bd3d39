"""What functions, procedures and DO leave behind is there for who needs it, and what leaves nothing behind keeps no server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

SCHEMA = """
create schema behind;
create table behind.t as select g as a from generate_series(1, 6) g;
create function behind.opens_volatile() returns setof refcursor language plpgsql as
  $$declare p refcursor := 'named'; begin open p for select a from behind.t order by a; return next p; end$$;
create function behind.opens_stable() returns setof refcursor language plpgsql stable as
  $$declare p refcursor := 'named'; begin open p for select a from behind.t order by a; return next p; end$$;
create function behind.opens_immutable() returns setof refcursor language plpgsql immutable as
  $$declare p refcursor := 'named'; begin open p for select a from behind.t order by a; return next p; end$$;
create function behind.opens_secretly() returns int language plpgsql stable as
  $$declare p refcursor := 'named'; begin
    if true then open p for execute 'select a from behind.t order by a'; end if; return 1; end$$;
create function behind.opens_for_the_caller(p refcursor, out q refcursor) language plpgsql stable as
  $$begin open p for select a from behind.t order by a; q := p; end$$;
create function behind.opens_bound() returns text language plpgsql stable as
  $$declare named cursor (n int) for select a from behind.t where a >= n order by a; begin
    named := 'named'; open named(1); return named::text; end$$;
create function behind.calls() returns text language sql stable as
  $$select q::text from behind.opens_for_the_caller('named') q$$;
create procedure behind.nothing(a int) language plpgsql as
  $$begin insert into behind.t values (a); end$$;
create procedure behind.commits() language plpgsql as
  $$begin insert into behind.t values (8); commit; insert into behind.t values (9); rollback; end$$;
create procedure behind.configures() language plpgsql as
  $$begin perform set_config('behind.x', 'left', false); end$$;
create view behind.opening as select behind.calls() as c;
"""

OPENING = [
    "select * from behind.opens_volatile()",
    "select * from behind.opens_stable()",
    "select behind.opens_immutable()",
    "select behind.opens_secretly()",
    "select behind.opens_for_the_caller('named')",
    "select behind.opens_bound()",
    "select behind.calls()",
    "select c from behind.opening",
]


@pytest.fixture(scope="module")
def knowing(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that has read the catalog of `app`."""
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(SCHEMA)
        cluster.wait_until_replayed()
        with (
            Proxy(cluster, tmp_path_factory.mktemp("behind")) as running,
            running.connect(),
        ):
            assert wait_until(lambda: "catalog_read" in running.log(), timeout=10)
            yield running
        connection.execute("drop schema behind cascade")


def pin(connection: psycopg.Connection[Any]) -> str:
    [(text,)] = connection.execute("show rwsplit.pinned").fetchall()
    return str(text)


@pytest.mark.parametrize("begin", ["begin", "begin; select 1", "begin read only"])
@pytest.mark.parametrize("statement", OPENING)
def test_a_cursor_that_a_function_opens_is_there_for_its_transaction(
    knowing: Proxy, statement: str, begin: str
):
    with knowing.connect() as connection:
        for text in begin.split("; "):
            connection.execute(text)  # type: ignore[call-overload]
        connection.execute(statement)  # type: ignore[call-overload]
        assert connection.execute("fetch 2 in named").fetchall() == [(1,), (2,)]
        if "read only" not in begin:
            connection.execute("insert into behind.t values (7)")
        assert connection.execute("fetch 1 in named").fetchall() == [(3,)]
        connection.execute("close named")
        connection.execute("rollback")
        assert pin(connection) == "no"


@pytest.mark.parametrize("statement", OPENING)
def test_nothing_is_left_of_it_outside_a_transaction(knowing: Proxy, statement: str):
    with knowing.connect() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        assert pin(connection) == "no"
        with pytest.raises(psycopg.errors.InvalidCursorName):
            connection.execute("fetch 1 in named")
        cursor = connection.execute(f"{statement}; fetch 2 in named; select 4")  # type: ignore[call-overload]
        assert cursor.nextset()
        assert cursor.fetchall() == [(1,), (2,)]


def test_a_function_just_made_opens_one_too(knowing: Proxy):
    with knowing.connect() as connection:
        connection.execute(
            "create or replace function behind.opens_new() returns refcursor language plpgsql stable as"
            " $$declare p refcursor := 'named'; begin open p for select 1; return p; end$$"
        )
        with connection.transaction():
            connection.execute("select behind.opens_new()")
            assert connection.execute("fetch all in named").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "call behind.nothing(1)",
        "call behind.commits()",
        "do $$begin perform 1; end$$",
        "do $$begin insert into behind.t (a) values (9); perform behind.opens_stable(); end$$",
        "do $$begin create temp table passing (a int) on commit drop; end$$",
        "do $$begin execute format('comment on table behind.%I is %L', 't', 'x'); end$$",
        "do $$begin perform set_config('behind.x', 'y', true); perform pg_notify('behind', 'x'); end$$",
    ],
)
def test_a_procedure_or_body_that_leaves_nothing_behind_keeps_no_server(
    knowing: Proxy, statement: str
):
    with knowing.connect() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        assert wait_until(lambda: pin(connection) == "no", timeout=5)


@pytest.mark.parametrize(
    ("statement", "question", "answer"),
    [
        ("call behind.configures()", "current_setting('behind.x')", "left"),
        (
            "do $$begin perform set_config('behind.x', 'left', false); end$$",
            "current_setting('behind.x')",
            "left",
        ),
        (
            "do $$begin create temp table behind_t as select 5 as a; end$$",
            "(table behind_t)",
            5,
        ),
        (
            "do $$begin perform pg_advisory_lock(5); end$$",
            "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
            1,
        ),
        ("do $$begin execute 'listen behind'; end$$", "pg_listening_channels()", "behind"),
    ],
)
def test_what_one_leaves_behind_is_there_and_nobody_elses(
    knowing: Proxy, statement: str, question: str, answer: object
):
    with knowing.connect() as connection, knowing.connect() as stranger:
        connection.execute(statement)  # type: ignore[call-overload]
        assert pin(connection) != "no"
        for _ in range(3):
            assert stranger.execute(
                "/* rwsplit: primary */ select nullif(current_setting('behind.x', true), '')"
            ).fetchone() == (None,)
            assert connection.execute(f"select {question}").fetchone() == (answer,)  # type: ignore[call-overload]
