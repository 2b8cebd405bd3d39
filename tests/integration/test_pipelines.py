"""Pipelines of units, and what must not get between them: answers in order, state that stays."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say as play
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    execute,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, rows

pytestmark = pytest.mark.integration


def say(client: RawClient, *texts: str) -> list[list[Frame]]:
    """Send every text as a Query at once; return the answers to each."""
    client.send(*(query(text) for text in texts))
    return [client.frames_until(b"Z") for _ in texts]


def shown(client: RawClient, name: str) -> Any:
    return rows(client.query(f"show {name}"))[0][0]


@pytest.mark.parametrize("attempt", range(5))
def test_answers_keep_their_order_when_a_read_on_a_replica_fails(proxy: Proxy, attempt: int):
    with proxy.raw() as client:
        client.query("select 10")
        first, second = say(client, "select * from nosuch_table", f"select {attempt}")
        assert b"E" in b"".join(frame.code for frame in first)
        assert rows(second) == [(str(attempt).encode(),)]


@pytest.mark.parametrize("attempt", range(5))
def test_a_pipeline_of_reads_is_answered_in_order(proxy: Proxy, attempt: int):
    with proxy.raw() as client:
        answers = say(client, *(f"select {attempt * 100 + n}" for n in range(20)))
        assert [rows(a)[0][0] for a in answers] == [
            str(attempt * 100 + n).encode() for n in range(20)
        ]


def test_what_is_pipelined_behind_discard_all_keeps_its_server(proxy: Proxy):
    with proxy.raw() as client, proxy.raw() as stranger:
        client.query("set work_mem = '1MB'")
        say(client, "discard all", "create temp table secret as select 1 as a")
        assert shown(client, "rwsplit.pinned") != b"no"
        assert rows(client.query("select * from secret")) == [(b"1",)]
        stranger.query("begin")
        codes = b"".join(frame.code for frame in stranger.query("select * from secret"))
        assert b"E" in codes


def test_discard_all_also_forgets_what_was_set_in_band(proxy: Proxy):
    with proxy.raw() as client:
        client.query("set rwsplit.route = 'primary'")
        client.query("discard all")
        assert shown(client, "rwsplit.route") == b"auto"


def test_a_string_that_ends_a_read_only_transaction_and_writes_runs_on_the_primary(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    cluster.primary.query("select 1")
    with proxy.raw() as client:
        client.query("create table if not exists ended_and_wrote (a int)")
        for text in ("commit; insert into ended_and_wrote values (1)", "commit; begin"):
            client.query("begin read only")
            assert b"E" not in b"".join(frame.code for frame in client.query(text))
        codes = b"".join(f.code for f in client.query("insert into ended_and_wrote values (2)"))
        assert b"E" not in codes
        client.query("commit")
        assert rows(client.query("select count(*) from ended_and_wrote")) == [(b"2",)]
        client.query("drop table ended_and_wrote")


def test_savepoints_keep_a_read_only_transaction_where_it_is(proxy: Proxy):
    with proxy.raw() as client:
        client.query("begin read only")
        client.query("savepoint s")
        client.query("select pg_lock_status()")  # wants the primary
        codes = b"".join(frame.code for frame in client.query("release savepoint s"))
        assert b"E" not in codes
        client.query("rollback")


def test_nobody_closes_or_runs_a_statement_by_rwsplits_name_for_it(proxy: Proxy):
    with proxy.raw() as client, proxy.raw() as stranger:
        client.send(parse("select 7", "mine"), bind("mine"), execute(), SYNC)
        assert rows(client.frames_until(b"Z")) == [(b"7",)]
        for number in range(1, 60):
            name = f"rwsplit_{number}"
            stranger.send(close_statement(name), SYNC)
            stranger.frames_until(b"Z")
            codes = b"".join(f.code for f in stranger.query(f"execute {name}"))
            assert b"D" not in codes
            stranger.query(f"deallocate {name}")
        client.send(bind("mine"), execute(), SYNC)
        assert rows(client.frames_until(b"Z")) == [(b"7",)]


def test_an_error_comes_without_a_sync_as_postgresql_runs_what_it_gets(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    compare = Differential(cluster, proxy)

    answers = compare(
        play(query("begin")),
        play(statement("select 1"), parse("select 1/0"), bind(), execute(), until=b"E"),
        play(statement("select 2"), SYNC),
        play(query("rollback")),
    )

    assert [frame.code for frame in answers[1]] == [b"1", b"2", b"T", b"D", b"C", b"1", b"E"]


def test_messages_without_a_sync_that_succeed_are_answered_at_the_sync(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    with proxy.raw(timeout=0.4) as client:
        client.send(parse("select 5") + bind() + execute())
        with pytest.raises(TimeoutError):
            client.frame()
        client.send(SYNC)
        assert rows(client.frames_until(b"Z")) == [(b"5",)]


@pytest.mark.parametrize("next_one", ["select 2", "selec 2"])
@pytest.mark.parametrize("name", ["", "b"])
@pytest.mark.parametrize("failing", ["selec", "select 1/0", "select * from nosuch_table"])
def test_what_follows_an_error_behind_a_flush_is_skipped(
    cluster: ReachableCluster[Any], proxy: Proxy, failing: str, name: str, next_one: str
):
    """As libpq's pipelines do: it asks for the answers, hears of the error, and goes on up to its Sync."""
    compare = Differential(cluster, proxy)
    compare(
        play(parse(failing), bind(""), execute(), FLUSH, until=b"E"),
        play(parse(next_one, name), bind(name), execute(), FLUSH, until=b""),
        play(parse("select 3"), bind(""), execute(), SYNC),
        play(bind(""), execute(), SYNC),
        play(statement("select 4"), SYNC),
    )
