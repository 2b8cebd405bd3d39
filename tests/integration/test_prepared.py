"""Prepared statements over pools of one server per node: names of many clients, none of them the server's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import (
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, error_fields, rows

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy with one server per node, so that all clients meet on it."""
    with Proxy(cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}) as running:
        yield running


@pytest.fixture
def compare(cluster: ReachableCluster[Any], narrow: Proxy) -> Differential:
    return Differential(cluster, narrow)


def raw(stack: ExitStack, proxy: Proxy) -> RawClient:
    client = stack.enter_context(RawClient(proxy.port))
    client.log_in(user="app", database="app", password=proxy.cluster.passwords["app"])
    return client


def ask(client: RawClient, *messages: bytes) -> list[Frame]:
    client.send(*messages)
    return client.frames_until(b"Z")


def test_a_named_statement_behaves_as_on_a_direct_connection(compare: Differential):
    compare(
        say(parse("select $1::int", "a"), describe_statement("a"), SYNC),
        say(bind("a", ["1"]), execute(), SYNC),
        say(bind("a", ["2"]), describe_portal(), execute(), SYNC),
        say(query("select 3")),
        say(describe_statement("a"), SYNC),
        say(close_statement("a"), SYNC),
        say(bind("a", ["1"]), execute(), SYNC),
        say(describe_statement("a"), SYNC),
        say(close_statement("never there"), SYNC),
    )


def test_a_name_in_use_is_42p05_and_keeps_its_statement(compare: Differential):
    compare(
        say(parse("select 1", "a"), SYNC),
        say(parse("select 2", "a"), SYNC),
        say(bind("a"), execute(), SYNC),
        say(parse("select 3", "a"), bind("a"), execute(), SYNC),
        say(close_statement("a"), parse("select 4", "a"), bind("a"), execute(), SYNC),
        say(bind("a"), execute(), SYNC),
    )


def test_what_does_not_exist_is_postgresqls_own_26000(compare: Differential):
    compare(
        say(bind("zz"), execute(), SYNC),
        say(describe_statement("zz"), SYNC),
        say(bind(), SYNC),
        say(describe_statement(), SYNC),
        say(query("execute zz")),
        say(query("deallocate zz")),
        say(query("select 1")),
    )


def test_a_statement_that_does_not_parse_leaves_its_name_free(compare: Differential):
    compare(
        say(parse("selec", "a"), bind("a"), execute(), SYNC),
        say(bind("a"), execute(), SYNC),
        say(parse("select nosuch", "a"), SYNC),
        say(parse("select 1", "a"), SYNC),
        say(bind("a"), execute(), SYNC),
    )


def test_errors_call_a_statement_by_the_clients_name(compare: Differential):
    compare(
        say(parse("select $1::int", "mine"), SYNC),
        say(bind("mine", ["x"]), execute(), SYNC),
        say(bind("mine", ["1", "2"]), execute(), SYNC),
        say(bind("mine"), execute(), SYNC),
        say(query("execute mine")),
        say(bind("mine", ["1"]), execute(), SYNC),
    )


def test_the_unnamed_statement_lives_until_the_next_parse_or_query(compare: Differential):
    compare(
        say(parse("select 1"), SYNC),
        say(bind(), execute(), SYNC),
        say(SYNC),
        say(bind(), execute(), SYNC),
        say(parse("select 2"), bind(), execute(), SYNC),
        say(bind(), execute(), SYNC),
        say(query("select 3")),
        say(bind(), execute(), SYNC),
    )


def test_formats_and_parameter_types_are_kept(compare: Differential):
    compare(
        say(parse("select $1, $2", "t", [23, 25]), describe_statement("t"), SYNC),
        say(
            bind("t", [b"\0\0\0\5", b"x"], formats=[1, 0], results=[1, 0]),
            describe_portal(),
            execute(),
            SYNC,
        ),
        say(bind("t", ["6", None], results=[0]), execute(), SYNC),
        say(bind("t", [b"\0\0\0\7", b"y"], formats=[1], results=[1]), execute(), SYNC),
        say(parse("select $1, $2", "u", [20, 25]), describe_statement("u"), SYNC),
    )


@pytest.mark.parametrize("ending", ["deallocate all", "discard all"])
def test_what_ends_all_statements_ends_those_of_the_protocol(
    compare: Differential, ending: str
):
    compare(
        say(parse("select 2", "a"), parse("select 3", "b"), SYNC),
        say(query(ending)),
        say(bind("a"), SYNC),
        say(parse("select 4", "a"), SYNC),
        say(bind("a"), execute(), SYNC),
        say(parse(ending), bind(), execute(), SYNC),
        say(bind("a"), SYNC),
        say(parse("select 5", "a"), bind("a"), execute(), SYNC),
    )


def test_deallocate_all_within_a_pipeline_spares_what_is_parsed_behind_it(
    compare: Differential,
):
    compare(
        say(
            parse("select 2", "a"),
            bind("a"),
            execute(),
            parse("deallocate all"),
            bind(),
            execute(),
            parse("select 3", "a"),
            bind("a"),
            execute(),
            SYNC,
        ),
        say(bind("a"), execute(), SYNC),
        say(query("begin")),
        say(query("deallocate all")),
        say(query("commit")),
        say(bind("a"), execute(), SYNC),
    )


@pytest.mark.parametrize("ending", ["deallocate all", "discard all"])
@pytest.mark.parametrize("text", ["select 2", None])
def test_what_ends_all_statements_ends_one_whose_text_is_parsed_again_behind_it(
    compare: Differential, ending: str, text: str | None
):
    """A server has a text once, under a name of rwsplit's, whatever clients call it."""
    text = ending if text is None else text
    for _ in range(2):
        compare(
            say(
                *(parse(text, "a"), bind("a"), execute()),
                *(parse(ending, "b"), bind("b"), execute()),
                *(parse(text, "c"), bind("c"), execute()),
                *(parse(text, "d"), bind("d"), execute()),
                SYNC,
            ),
            say(bind("d"), execute(), SYNC),
            say(bind("a"), execute(), SYNC),
        )


def test_sql_and_protocol_share_the_name_space(compare: Differential):
    compare(
        say(parse("select $1::int + 1", "p"), SYNC),
        say(query("execute p(41)")),
        say(query("deallocate p")),
        say(query("execute p(41)")),
        say(query("prepare s as select 1")),
        say(query("execute s")),
        say(bind("s"), describe_portal(), execute(), SYNC),
        say(parse("select 2", "s"), SYNC),
        say(close_statement("s"), SYNC),
        say(parse("select 2", "s"), SYNC),
        say(query("execute s")),
        say(query("deallocate prepare s")),
        say(query("deallocate s")),
        say(bind("s"), SYNC),
    )


def test_a_prepared_begin_and_commit_are_not_lost(compare: Differential):
    compare(
        say(query("create table prepared_commit (a int)")),
        say(parse("begin", "b"), parse("commit", "c"), SYNC),
        say(parse("insert into prepared_commit values ($1)", "i"), SYNC),
        say(bind("b"), execute(), SYNC),
        say(bind("i", ["7"]), execute(), SYNC),
        say(bind("c"), execute(), SYNC),
        say(query("select a from prepared_commit")),
        say(query("drop table prepared_commit")),
    )


def test_many_clients_use_one_name_for_different_statements(narrow: Proxy):
    with ExitStack() as stack:
        clients = [raw(stack, narrow) for _ in range(8)]
        for number, client in enumerate(clients):
            ask(client, parse(f"select {number}, $1::text", "s1"), SYNC)
        for turn in range(3):
            for number, client in enumerate(clients):
                found = rows(ask(client, bind("s1", [str(turn)]), execute(), SYNC))
                assert found == [(str(number).encode(), str(turn).encode())]
        ask(clients[0], close_statement("s1"), SYNC)
        gone = ask(clients[0], bind("s1", ["x"]), execute(), SYNC)
        assert error_fields(gone[0].payload)["C"] == "26000"
        assert rows(ask(clients[1], bind("s1", ["x"]), execute(), SYNC)) == [(b"1", b"x")]


def test_the_unnamed_statements_of_two_clients_never_meet(narrow: Proxy):
    with ExitStack() as stack:
        one, other = raw(stack, narrow), raw(stack, narrow)
        ask(one, parse("select 'one'"), SYNC)
        for _ in range(4):  # whatever replica it comes to
            ask(other, parse("select 'other'"), SYNC)
        for _ in range(4):
            assert rows(ask(one, bind(), execute(), SYNC)) == [(b"one",)]
            assert rows(ask(other, bind(), execute(), SYNC)) == [(b"other",)]


def test_a_stranger_cannot_use_an_unnamed_statement(narrow: Proxy):
    with ExitStack() as stack:
        one, other = raw(stack, narrow), raw(stack, narrow)
        for _ in range(4):
            ask(one, parse("insert into pg_class default values"), SYNC)
        answer = ask(other, bind(), execute(), SYNC)
        assert error_fields(answer[0].payload)["C"] == "26000"


def test_a_stranger_cannot_guess_the_name_of_a_statement_on_the_server(narrow: Proxy):
    with ExitStack() as stack:
        one, other = raw(stack, narrow), raw(stack, narrow)
        ask(one, parse("select 'secret'", "mine"), SYNC)
        for number in range(20):
            answer = ask(other, bind(f"rwsplit_{number}"), execute(), SYNC)
            assert error_fields(answer[0].payload)["C"] == "26000"


def test_describe_of_a_statement_on_servers_that_have_not_seen_it(narrow: Proxy):
    with ExitStack() as stack:
        client = raw(stack, narrow)
        ask(client, parse("select $1::date as d", "described"), SYNC)
        for _ in range(8):
            codes = b"".join(f.code for f in ask(client, describe_statement("described"), SYNC))
            assert codes == b"tTZ"


def test_more_statements_than_a_server_keeps_come_back_by_themselves(
    cluster: ReachableCluster[Any], make_proxy: Any
):
    proxy = make_proxy(cluster, {"pool": {"size": 1}, "limits": {"max_prepared_statements": 5}})
    with ExitStack() as stack:
        client = raw(stack, proxy)
        for number in range(20):
            ask(client, parse(f"select {number} as n, $1::int", f"s{number}"), SYNC)
        for number in (*range(20), *reversed(range(20))):
            found = rows(ask(client, bind(f"s{number}", ["1"]), execute(), SYNC))
            assert found == [(str(number).encode(), b"1")]
        [(count,)] = rows(
            ask(
                client,
                query("/* rwsplit: primary */ select count(*) from pg_prepared_statements"),
            )
        )
        assert int(count or 0) <= 5


@pytest.mark.parametrize(
    "pins", ["create temp table kept (a int)", "listen news", "select pg_advisory_lock(7)"]
)
def test_what_is_prepared_beside_another_reason_to_keep_a_server_is_listed_and_stays(
    cluster: ReachableCluster[Any], proxy: Proxy, pins: str
):
    Differential(cluster, proxy)(
        say(
            parse(pins),
            bind(),
            execute(),
            parse("prepare kept as select 5"),
            bind(),
            execute(),
            SYNC,
        ),
        say(query("select name from pg_prepared_statements where name <> ''")),
        say(query("execute kept")),
        say(query("deallocate kept")),
        say(query("select name from pg_prepared_statements where name <> ''")),
    )


def test_a_result_type_changed_by_ddl_is_told_once_and_then_prepared_anew(narrow: Proxy):
    with ExitStack() as stack:
        client = raw(stack, narrow)
        client.query("drop table if exists prepared_ddl")
        client.query("create table prepared_ddl (a int)")
        client.query("insert into prepared_ddl values (1)")
        ask(client, parse("select a from prepared_ddl", "s"), describe_statement("s"), SYNC)
        assert rows(ask(client, bind("s"), execute(), SYNC)) == [(b"1",)]

        client.query("alter table prepared_ddl alter a type text using 'now text'")

        # A client that asks again what the columns are never sees an error.
        for _ in range(4):
            answer = ask(client, bind("s"), describe_portal(), execute(), SYNC)
            assert rows(answer) == [(b"now text",)]
        # Who relies on what it was told hears of it, prepares anew, and goes on (asyncpg, pgjdbc).
        client.query("alter table prepared_ddl alter a type int using 7")
        for _ in range(8):
            answer = ask(client, bind("s"), execute(), SYNC)
            if answer[0].code == b"E":
                assert error_fields(answer[0].payload)["C"] == "0A000"
                ask(client, close_statement("s"), SYNC)
                ask(client, parse("select a from prepared_ddl", "s"), SYNC)
        assert rows(ask(client, bind("s"), execute(), SYNC)) == [(b"7",)]
        [[route]] = rows(client.query("show rwsplit.last_route"))
        assert route is not None
        assert b"replica" in route, "it was taken for a write"


def test_a_statement_that_is_only_parsed_has_no_effect(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    compare = Differential(cluster, narrow)
    compare(
        say(query("create temp table only_parsed (a int)")),
        say(query("set timezone = 'Asia/Tokyo'")),
        say(parse("discard all", "d"), parse("deallocate all", "all"), SYNC),
        say(parse("reset timezone"), SYNC),
        say(bind("d"), SYNC),
        say(query("select count(*) from only_parsed")),
        say(query("show timezone")),
        say(bind("all"), execute(), SYNC),
        say(bind("d"), SYNC),
        say(parse("discard all", "d"), bind("d"), execute(), SYNC),
        say(query("select count(*) from only_parsed")),
    )
    compare(
        say(query("set timezone = 'Asia/Tokyo'")),
        say(parse("reset timezone"), SYNC),
        say(query("show timezone")),
        say(bind(), execute(), SYNC),
        parameters={"TimeZone": "America/Lima"},
    )


LISTED = (
    "select statement, parameter_types::text from pg_prepared_statements"
    " where name <> '' order by prepare_time"
)


def test_a_session_lists_its_own_statements_and_nobody_elses(narrow: Proxy):
    mine = ["select 101 as mine", "select 102 as mine, $1::date"]
    with ExitStack() as stack:
        client, other = raw(stack, narrow), raw(stack, narrow)
        for number in range(3):
            ask(other, parse(f"/* rwsplit: primary */ select {number}", f"o{number}"), SYNC)
            ask(other, bind(f"o{number}"), execute(), SYNC)
        assert rows(client.query(LISTED)) == []
        for name, text in zip("ab", mine, strict=True):
            ask(client, parse(text, name), SYNC)
            ask(other, bind("o0"), execute(), SYNC)
        expected = [(mine[0].encode(), b"{}"), (mine[1].encode(), b"{date}")]
        assert rows(client.query(LISTED)) == expected
        assert rows(ask(client, parse(LISTED), bind(), execute(), SYNC)) == expected
        client.query("begin")
        assert rows(client.query(LISTED)) == expected
        ask(client, close_statement("a"), SYNC)
        assert rows(client.query(LISTED)) == expected[1:]
        client.query("commit")
        client.query("deallocate all")
        assert rows(client.query(LISTED)) == []
        assert rows(ask(other, bind("o2"), execute(), SYNC)) == [(b"2",)]


def test_a_pipeline_lists_what_it_has_prepared_by_then(narrow: Proxy):
    count = "select count(*) from pg_prepared_statements where name <> ''"
    with ExitStack() as stack:
        client = raw(stack, narrow)
        unnamed, named = parse(count) + bind() + execute(), bind("c") + execute()
        found = ask(client, unnamed, unnamed, parse(count, "c"), named, named, SYNC)
        assert rows(found) == [(b"0",), (b"0",), (b"1",), (b"1",)]


def test_a_statement_prepared_anew_after_ddl_means_the_new_type(narrow: Proxy):
    text = "select $1::prepared_mood::text"
    with ExitStack() as stack:
        client = raw(stack, narrow)
        client.query("begin")
        for _ in range(3):
            client.query("savepoint s")
            client.query("create type prepared_mood as enum ('fine')")
            found = ask(client, parse(text, "m"), bind("m", ["fine"]), execute(), SYNC)
            assert rows(found) == [(b"fine",)]
            client.query("rollback to s")
            ask(client, close_statement("m"), SYNC)
        client.query("rollback")
