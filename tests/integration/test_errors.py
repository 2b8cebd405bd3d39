"""Errors and every other message: through rwsplit byte for byte what PostgreSQL says directly."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, hang_up, say
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close_portal,
    copy_data,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

UPPER_OF_TEXT = 871
"""OID of pg_catalog.upper(text)."""


@pytest.fixture
def compare(cluster: ReachableCluster[Any], proxy: Proxy) -> Differential:
    return Differential(cluster, proxy)


@pytest.mark.parametrize(
    "text",
    [
        "select 1",
        "",
        ";",
        " ; ;; ",
        "-- nothing",
        "/* nothing */;",
        "selec",
        "select 'unclosed",
        "select $1",
        "select nosuch",
        "select * from nosuch",
        "select nosuch()",
        "select 1/0",
        "select 1; select 2; ; select 3",
        "select 1; select 1/0; select 3",
        "select 1; selec",
        "select 'a'::int",
        "values (1, null), (2, 'x')",
        "table pg_nosuch",
        "insert into nosuch values (1)",
        "create table pg_catalog.mine ()",
        "set nosuch = 1",
        "show nosuch",
        "set work_mem = 'much'",
        "select raise_nothing(1)",
        "do $$begin raise exception 'mine' using errcode = 'ZZ123', detail = 'd', hint = 'h', "
        "column = 'c', table = 't', schema = 's', constraint = 'k', datatype = 'y'; end$$",
        "do $$begin raise notice 'n'; raise warning 'w'; end$$",
        "rollback",
        "commit",
        "begin; begin; commit",
        "fetch all from nosuch",
        "close nosuch",
        "release savepoint nosuch",
        "vacuum nosuch",
        "begin; vacuum; commit",
        "rollback; select 1",
        "discard all; select 1",
    ],
)
def test_a_query_is_answered_as_directly(compare: Differential, text: str):
    compare(say(query(text)), say(query("rollback")), say(query("select 'still here'")))


@pytest.mark.parametrize(
    "text", ["select 1", "", "selec", "select 1/0", "select 1; select 2", "select $1::int"]
)
def test_an_extended_statement_is_answered_as_directly(compare: Differential, text: str):
    compare(
        say(statement(text), SYNC),
        say(parse(text), describe_statement(), SYNC),
        say(bind(values=["x"]), execute(), SYNC),
        say(query("select 'still here'")),
    )


def test_after_an_error_the_rest_is_skipped_up_to_the_sync_even_a_query(compare: Differential):
    compare(
        say(statement("select 1/0"), statement("select 2"), SYNC, statement("select 3"), SYNC),
        say(statement("selec"), query("select 'skipped'"), SYNC, until=b"Z"),
        say(query("select 4")),
        say(statement("select 5"), query("select 6"), SYNC, until=b"ZZ"),
        say(query("select 7")),
    )


def test_units_of_a_pipeline_fail_one_by_one(compare: Differential):
    compare(
        say(
            *(statement("select 1"), SYNC, statement("select 1/0"), SYNC, query("select 2")),
            *(statement("select nosuch"), SYNC, SYNC, query("selec"), statement("select 3")),
            *(FLUSH, SYNC, query("")),
        ),
        say(query("select 4")),
    )


def test_several_syncs_at_once_and_apart(compare: Differential):
    compare(
        say(SYNC, SYNC, SYNC),
        say(parse("select 1"), SYNC, bind(), SYNC, execute(), SYNC),
        say(parse("select 1", "s"), SYNC, bind("s"), execute(), SYNC, SYNC),
    )


def test_flush_shows_answers_before_the_sync(compare: Differential):
    compare(
        say(parse("select 1"), describe_statement(), FLUSH, until=b"T"),
        say(bind(), execute(), FLUSH, until=b"C"),
        say(statement("select 2"), FLUSH, until=b"C"),
        say(SYNC),
        say(FLUSH, until=b""),
        say(parse("selec"), FLUSH, until=b"E"),
        say(statement("select 3"), FLUSH, SYNC),
        say(query("select 4")),
    )


def test_a_portal_with_a_row_limit_goes_on(compare: Differential):
    rows = "select generate_series(1, 10)"
    compare(
        say(query("begin")),
        say(parse(rows), bind(portal="p"), execute("p", limit=3), SYNC),
        say(execute("p", limit=3), execute("p", limit=2), SYNC),
        say(query("select 'between'")),
        say(execute("p"), describe_portal("p"), close_portal("p"), SYNC),
        say(execute("p"), SYNC),
        say(query("commit")),
    )


def test_a_portal_ends_with_its_implicit_transaction(compare: Differential):
    compare(
        say(
            parse("select generate_series(1, 9)"), bind(portal="p"), execute("p", limit=3), SYNC
        ),
        say(execute("p", limit=3), SYNC),
        say(
            *(parse("select generate_series(1, 9)"), bind(portal="p"), execute("p", limit=3)),
            FLUSH,
            until=b"s",
        ),
        say(execute("p", limit=3), FLUSH, until=b"s"),
        say(execute("p"), SYNC),
        say(describe_portal("p"), SYNC),
        say(close_portal("p"), SYNC),
    )


def test_function_calls(compare: Differential):
    compare(
        say(function_call(UPPER_OF_TEXT, b"abc")),
        say(function_call(4_000_000_000)),
        say(query("begin"), function_call(UPPER_OF_TEXT, b"def"), query("commit")),
        say(query("begin")),
        say(query("select 1/0")),
        say(function_call(UPPER_OF_TEXT, b"abc")),
        say(query("rollback")),
        say(statement("select 1"), function_call(UPPER_OF_TEXT, b"ghi"), SYNC, until=b"ZZ"),
    )


def test_simple_and_extended_mix_in_one_transaction(compare: Differential):
    compare(
        say(query("begin"), statement("select 1"), SYNC, query("select 2"), query("commit")),
        say(statement("begin"), SYNC, query("select 1"), statement("commit"), SYNC),
        say(query("begin"), statement("select 1/0"), SYNC, query("select 2"), query("commit")),
        say(query("select 'after'")),
    )


def test_a_client_that_breaks_the_protocol_within_copy_hears_one_fatal(compare: Differential):
    with compare.cluster.primary.connect("app", "app") as connection:
        connection.execute("create table copy_broken (a int)")
        try:
            compare(
                say(query("copy copy_broken from stdin"), until=b"G"),
                hang_up(query("select 1")),
            )
        finally:
            connection.execute("drop table copy_broken")


def test_copy_data_outside_of_a_copy_is_ignored(compare: Differential):
    compare(
        say(copy_data(b"1\n"), COPY_DONE, query("select 1"), until=b"Z"),
        say(statement("select 2"), copy_data(b"1\n"), SYNC),
    )


def test_a_terminate_behind_a_request_lets_it_finish(compare: Differential):
    answers = compare(hang_up(query("select 1"), statement("select 2"), SYNC, TERMINATE))

    assert b"".join(frame.code for frame in answers[0]) == b"TDCZ12TDCZ"


def test_a_server_told_to_end_says_so_once(compare: Differential):
    compare(
        say(query("begin")), hang_up(query("select pg_terminate_backend(pg_backend_pid())"))
    )
