"""While a statement is tried on a server, its session is told and can do what PostgreSQL tells and lets it do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
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
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, cancel_request, error_fields, rows

pytestmark = pytest.mark.integration

CHANGED = ["0A000"]


@pytest.fixture(scope="module")
def proxy(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with Proxy(cluster, tmp_path_factory.mktemp("trials"), {"pool": {"size": 4}}) as running:
        yield running


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def table(cluster: ReachableCluster[Any]) -> None:
    run(cluster, "drop table if exists tried", "create table tried (a int)")
    run(cluster, "insert into tried values (258)")
    cluster.wait_until_replayed()


def run(cluster: ReachableCluster[Any], *texts: str) -> None:
    with cluster.primary.connect("app", "app") as connection:
        for text in texts:
            connection.execute(text)


def client_of(stack: ExitStack, proxy: Proxy) -> RawClient:
    client = stack.enter_context(RawClient(proxy.port))
    client.log_in(user="app", database="app", password=proxy.cluster.passwords["app"])
    return client


def ask(client: RawClient, *messages: bytes) -> list[Frame]:
    client.send(*messages)
    return client.frames_until(b"Z")


def states(frames: list[Frame]) -> list[str]:
    return [error_fields(frame.payload)["C"] for frame in frames if frame.code == b"E"]


def write(client: RawClient) -> None:
    ask(client, query("begin"))
    ask(client, query("select pg_current_xact_id()"))


def elsewhere(stack: ExitStack, proxy: Proxy, *texts: str) -> RawClient:
    """Return a session that has prepared *texts* on a server of the primary that another session has now."""
    client = client_of(stack, proxy)
    write(client)
    for number, text in enumerate(texts):
        ask(client, parse(text, f"s{number}"), describe_statement(f"s{number}"), SYNC)
    ask(client, query("commit"))
    write(client_of(stack, proxy))
    return client


def test_a_portal_described_says_nothing_of_another_statement(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack
):
    client = elsewhere(stack, proxy, "select a from tried", "select 1")
    run(cluster, "alter table tried alter a type bigint")
    write(client)

    answer = ask(client, bind("s0"), execute(), bind("s1"), describe_portal(), execute(), SYNC)

    assert (states(answer), rows(answer)) == (CHANGED, [])


def test_a_transaction_fails_by_what_the_trial_failed_of(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack
):
    client = elsewhere(stack, proxy, "select a from tried")
    run(cluster, "drop table tried")
    write(client)

    assert states(ask(client, bind("s0"), execute(), SYNC)) == ["42P01"]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_trial_can_be_cancelled(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack, *, in_transaction: bool
):
    client = elsewhere(stack, proxy, "select a from tried for update")
    with cluster.primary.connect("app", "app") as other:
        other.execute("begin")
        other.execute("lock table tried")
        if in_transaction:
            write(client)
        client.send(bind("s0"), execute(), SYNC)
        assert wait_until(lambda: is_locked_out(cluster), timeout=5)
        cancel(proxy, client)
        assert states(client.frames_until(b"Z")) == ["57014"]


@pytest.mark.parametrize("name", ["", "s"])
def test_a_trial_in_a_transaction_that_lasts_too_long_is_said_to(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy, stack: ExitStack, name: str
):
    proxy = make_proxy(cluster, {"pool": {"size": 4, "query_timeout": "300ms"}})
    client = client_of(stack, proxy)
    write(client)
    told = parse("select a from tried for update", name) + describe_statement(name)
    ask(client, told, SYNC)
    ask(client, parse("commit", "ends"), bind("ends"), execute(), SYNC)
    write(client_of(stack, proxy))
    ask(client, parse("begin", "begins"), bind("begins"), execute(), SYNC)
    takes = parse("select pg_current_xact_id()", "writes") + bind("writes") + execute()
    ask(client, takes, SYNC)
    with cluster.primary.connect("app", "app") as other:
        other.execute("begin")
        other.execute("lock table tried")

        answer = ask(client, bind(name), execute(), SYNC)

    said = [error_fields(frame.payload) for frame in answer if frame.code == b"E"]
    assert [(each["C"], each["M"]) for each in said] == [
        ("57014", "canceling statement due to query_timeout")
    ]


def is_locked_out(cluster: ReachableCluster[Any]) -> bool:
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
    return cluster.primary.query(waiting) != []


def cancel(proxy: Proxy, client: RawClient) -> None:
    with RawClient(proxy.port) as other:
        other.send(cancel_request(client.pid, client.cancel_key))


@pytest.mark.parametrize("ddl", ["alter table tried alter a type bigint", "drop table tried"])
@pytest.mark.parametrize("begins", [False, True])
def test_what_cannot_be_run_any_more_can_be_deallocated(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack, ddl: str, *, begins: bool
):
    client = elsewhere(stack, proxy, "select a from tried")
    run(cluster, ddl)
    assert states(ask(client, bind("s0"), execute(), SYNC))
    if begins:
        write(client)

    assert states(ask(client, query("deallocate s0"))) == []
    assert states(ask(client, query("deallocate s0"))) == ["26000"]


@pytest.mark.parametrize("retyped", [False, True])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "ending", ["rollback", "commit", "rollback and chain", "rollback to savepoint a"]
)
def test_a_server_is_taught_a_statement_when_the_failed_transaction_has_ended(
    cluster: ReachableCluster[Any],
    proxy: Proxy,
    stack: ExitStack,
    ending: str,
    *,
    named: bool,
    retyped: bool,
):
    """In a transaction that has failed it parses nothing but what ends that."""
    text, name = "select a from tried", "s0" if named else ""
    if named:
        client = elsewhere(stack, proxy, text)
    else:
        client = client_of(stack, proxy)
        ask(client, parse(text), describe_statement(), SYNC)
    for message in ("begin", "select pg_current_xact_id()", "savepoint a", "select 1/0"):
        said = parse(message, "x") + bind("x") + execute() + close_statement("x")
        ask(client, said, SYNC)
    if retyped:
        run(cluster, "alter table tried alter a type bigint")
    end = parse(ending, "end") + bind("end") + execute() + close_statement("end")

    answer = ask(client, end, bind(name), execute(), SYNC)

    goes_on = ending not in {"rollback", "commit"}
    if retyped:
        assert (states(answer), rows(answer)) == (CHANGED, [])
        assert answer[-1].payload == (b"E" if goes_on else b"I")
    else:
        assert (states(answer), rows(answer)) == ([], [(b"258",)])
        assert answer[-1].payload == (b"T" if goes_on else b"I")
    assert next(frame.payload for frame in answer if frame.code == b"C") == b"ROLLBACK\0"
