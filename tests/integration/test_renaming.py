"""Names of statements in pipelines that fail: rwsplit, which renames them, forgets and remembers as PostgreSQL does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    close_statement,
    copy_data,
    describe_portal,
    execute,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

FAILS = statement("select 1/0")
UPDATE = "update renamed set a = a + 1"


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server per node, which knows what any session has prepared."""
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table renamed (a int)")
        connection.execute("insert into renamed values (1)")
        with Proxy(
            cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}
        ) as running:
            yield running
        connection.execute("drop table renamed")


@pytest.fixture
def compare(cluster: ReachableCluster[Any], narrow: Proxy) -> Differential:
    return Differential(cluster, narrow)


def test_what_was_never_prepared_does_not_run_because_somebody_else_has_prepared_it(
    compare: Differential,
):
    compare(say(parse(UPDATE, "theirs"), bind("theirs"), execute(), SYNC))

    for between in (b"", FLUSH):
        compare(
            say(FAILS, parse(UPDATE, "mine"), SYNC, between, bind("mine"), execute(), SYNC),
            say(bind("mine"), execute(), SYNC),
            say(query("select a from renamed")),
        )


def test_an_error_never_mentions_rwsplits_name(compare: Differential):
    compare(
        say(parse("select 1", "a"), parse("select 1", "b"), parse("select 1"), SYNC),
        say(bind("b", ["x"]), close_statement("b"), SYNC),
        say(bind("a", ["x"]), SYNC, bind("b", ["x"]), SYNC),
        say(FAILS, parse("select 2", "c"), SYNC, bind("c"), execute(), SYNC),
    )


def test_a_close_that_was_skipped_keeps_its_statement(compare: Differential):
    compare(
        say(parse("select 1", "a"), SYNC),
        say(FAILS, close_statement("a"), SYNC, bind("a"), execute(), SYNC),
        say(FAILS, close_statement("a"), parse("select 2", "a"), SYNC),
        say(bind("a"), execute(), SYNC),
        say(close_statement("a"), FAILS, SYNC, bind("a"), execute(), SYNC),
    )


@pytest.mark.parametrize("text", ["deallocate all", "deallocate a", "discard all"])
def test_a_command_that_was_skipped_keeps_all_statements(compare: Differential, text: str):
    compare(
        say(parse("select 1", "a"), SYNC),
        say(FAILS, statement(text), SYNC, bind("a"), execute(), SYNC),
        say(query("begin"), FAILS, SYNC, query(text), query("rollback")),
        say(bind("a"), execute(), SYNC, query(text), bind("a"), execute(), SYNC),
    )


def test_a_name_in_use_given_again_before_a_flush_leaves_nothing_behind(
    compare: Differential,
):
    for ends in (SYNC, query("select 'skipped'") + SYNC):
        compare(
            say(parse("select 1", "a"), SYNC),
            say(parse("select 2", "a"), FLUSH, until=b"E"),
            say(ends, until=b"Z"),
            say(close_statement("a"), SYNC),
            say(bind("a"), SYNC),
            say(parse("select 3", "a"), bind("a"), execute(), SYNC),
        )


def test_a_prepare_that_failed_leaves_its_name_to_the_protocol(compare: Differential):
    compare(
        say(query("prepare a as selec"), parse("select 1", "a"), SYNC),
        say(bind("a"), execute(), SYNC),
        say(query("execute a"), parse("select 2", "a"), SYNC),
    )


def test_the_unnamed_statement_behind_errors(compare: Differential):
    run = bind() + execute()
    compare(
        say(parse("select 1"), SYNC),
        say(bind("nobody"), parse("select 2"), SYNC, run, SYNC),
        say(parse("selec"), SYNC, run, SYNC),
        say(parse("select 3"), run, parse("select 1/0"), run, parse("select 4"), run, SYNC),
        say(run, SYNC),
        say(
            parse("select 5"),
            SYNC,
            FAILS,
            query("select 'skipped'"),
            SYNC,
            run,
            SYNC,
            until=b"ZZZ",
        ),
    )


def test_a_unit_with_named_statements_may_follow_a_copy_instead_of_its_sync(
    compare: Differential,
):
    copy = parse("copy renamed from stdin") + bind() + describe_portal() + execute()
    for data in (b"2\n", b"x\n"):
        compare(
            say(parse("select 7", "a"), SYNC),
            say(copy, SYNC, until=b"G"),
            say(copy_data(data), COPY_DONE, bind("a"), describe_portal(), execute(), SYNC),
            say(query("delete from renamed where a = 2")),
            say(bind("a"), execute(), SYNC),
        )


def test_the_unnamed_statement_parsed_again_behind_a_failure_is_there(compare: Differential):
    again = statement("select 1") + SYNC
    creates = query("create temp table parsed_behind (a int)")
    reads = parse("select a from parsed_behind")
    for pipeline in (
        bind() + again + again + bind() + execute() + SYNC,
        bind() + again + query("select 2") + again + bind() + execute() + SYNC,
        reads + SYNC + creates + reads + SYNC + bind() + execute() + SYNC,
        again + bind("none") + again + bind() + execute() + SYNC,
    ):
        compare(say(query("begin")), say(query("rollback")), say(pipeline))


def test_prepare_does_not_take_a_name_that_the_protocol_has_given(compare: Differential):
    named = parse("select 1", "a")
    prepares = query("prepare a as select 5")
    for first in (
        [named + prepares],
        [named + SYNC, prepares],
        [named + SYNC + prepares],
        [named + SYNC, statement("prepare a as select 5") + SYNC],
        [named + SYNC, query('prepare "a" (int) as select $1')],
        [query("begin"), query("select 1"), named + SYNC, prepares],
    ):
        compare(
            *map(say, first),
            say(query("rollback")),
            say(query("execute a")),
            say(bind("a") + execute() + SYNC),
            say(query("deallocate a")),
            say(prepares),
            say(query("execute a")),
            say(query("deallocate a")),
        )


def test_a_query_that_ends_messages_names_the_same_statements(compare: Differential):
    named = parse("select 1", "a")
    for first in (
        named + query("execute a"),
        named + SYNC + parse("select 2", "b") + query("execute a"),
        named + SYNC + parse("select 2", "b") + query("deallocate a"),
        named + SYNC + parse("select 2", "b") + query("deallocate nobody"),
        named + query("deallocate all"),
        parse("select 2", "b") + query("prepare a as select 5"),
    ):
        compare(
            say(query("begin")),
            say(query("rollback")),
            say(first),
            say(bind("b") + execute() + SYNC),
            say(query("execute a")),
            say(query("deallocate all")),
        )


@pytest.mark.parametrize("between", ["/* x */ ", "-- x\n", "/**/", "\t/* a*b/c */\n"])
def test_comments_do_not_hide_a_name(compare: Differential, between: str):
    for text in (
        "execute{}a",
        "{}execute a",
        "prepare{}a as select 2",
        "{}deallocate{}prepare{}a",
    ):
        compare(
            say(parse("select 1", "a") + SYNC),
            say(query(text.format(*[between] * 3))),
            say(bind("a") + execute() + SYNC),
            say(query("deallocate all")),
        )
