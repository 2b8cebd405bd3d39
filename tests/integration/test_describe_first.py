"""Clients that parse and describe a statement, say Flush, and bind it when they have the answer: asyncpg, postgres.js."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, Step, say
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    statement,
)
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, rows

pytestmark = pytest.mark.integration

UPPER_OF_TEXT = 871
"""OID of pg_catalog.upper(text)."""

READ = "select count(*) from described where a = $1"
WRITE = "insert into described values ($1)"
RETURNING = "insert into described values ($1) returning a"
WRONG = "select nosuch from described"
ENDS = {READ: b"T", WRITE: b"n", RETURNING: b"T", WRONG: b"E"}


@pytest.fixture(scope="module")
def table(cluster: ReachableCluster[Any]) -> Iterator[str]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table described (a int)")
        cluster.wait_until_replayed()
        yield "described"
        connection.execute("drop table described")


@pytest.fixture(params=[False, True], ids=["whole", "bytewise"])
def compare(
    request: pytest.FixtureRequest, cluster: ReachableCluster[Any], proxy: Proxy, table: str
) -> Differential:
    return Differential(cluster, proxy, bytewise=request.param)


def ask(text: str, name: str = "") -> Step:
    """Return the step of a client that wants to know what *text* takes and returns."""
    return say(parse(text, name), describe_statement(name), FLUSH, until=ENDS[text])


def run(name: str = "") -> bytes:
    return bind(name, ["1"]) + execute() + SYNC


#: What may come behind the question, whether that failed or not.
BEHIND = {
    "run": (say(run()),),
    "run by name": (say(run("s")),),
    "Sync": (say(SYNC),),
    "Sync, then run": (say(SYNC), say(run())),
    "Query": (say(query("select 2"), until=b"Z"), say(SYNC)),
    "two runs": (say(run(), run()),),
    "another question in front of a Flush": (
        say(parse("select 3"), describe_statement(), FLUSH, close_statement("t"), FLUSH, SYNC),
        say(run()),
    ),
    "another question": (say(parse("select 3"), describe_statement(), SYNC), say(run())),
    "a question more": (
        say(parse("select 3", "t"), SYNC),
        say(bind("t"), execute(), SYNC),
    ),
    "closed": (say(close_statement("s"), SYNC), say(run("s"))),
    "run in an open unit": (
        say(bind("", ["1"]), execute(), FLUSH, SYNC),
        say(statement("select 5"), SYNC),
    ),
}
BEFORE = {
    "idle": (),
    "nowhere": (say(query("begin")),),
    "on a replica": (say(query("begin; select count(*) from described")),),
    "read only": (say(query("begin read only")),),
    "with a snapshot": (
        say(query("begin isolation level repeatable read read only")),
        say(query("select 1")),
    ),
    "on the primary": (say(query("begin; insert into described values (0)")),),
    "failed": (say(query("begin")), say(query("selec"))),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", ["", "s"])
@pytest.mark.parametrize("text", [READ, WRITE, RETURNING, WRONG])
def test_it_is_answered_as_by_postgresql(
    compare: Differential, before: str, behind: str, name: str, text: str
):
    fails = before == "failed" or text == WRONG
    asked = say(
        parse(text, name),
        describe_statement(name),
        FLUSH,
        until=b"E" if fails else ENDS[text],
    )
    if fails and behind == "Query":
        rest: tuple[Step, ...] = (say(query("select 2"), SYNC, until=b"Z"),)
    else:
        rest = BEHIND[behind]
    if before == "on a replica":
        compare.cluster.wait_until_replayed()  # what the tests before have written
    compare(*BEFORE[before], asked, *rest, say(query("rollback")), say(query("select 4")))


@pytest.mark.parametrize(
    "behind", [run(), run("s"), SYNC, function_call(UPPER_OF_TEXT, b"a") + SYNC]
)
@pytest.mark.parametrize("text", [READ, WRONG])
def test_what_comes_at_once_behind_it_waits_for_its_answer(
    compare: Differential, behind: bytes, text: str
):
    asked = parse(text) + describe_statement() + FLUSH
    until = b"Z" if text == WRONG else None
    compare(say(asked, behind, until=until), say(query("select 4")))
    compare(
        say(query("begin"), asked, behind, until=b"ZZ" if text == WRONG else None),
        say(query("rollback")),
    )


#: What fails: alone in front of its Flush rwsplit ends it itself; executed it is open.
FAILS = {"asked": ask(WRONG), "run": say(statement("select 1/0"), FLUSH, until=b"E")}


@pytest.mark.parametrize("failed", FAILS.values(), ids=FAILS)
def test_nothing_but_the_sync_ends_what_is_skipped(compare: Differential, failed: Step):
    compare(
        failed,
        say(run()[: -len(SYNC)], until=b""),
        say(query("insert into described values (7)"), until=b""),
        say(parse("select 3") + describe_statement(), FLUSH, until=b""),
        say(query("select 2"), parse("select 3", "t"), FLUSH, until=b""),
        say(statement("insert into described values (7)"), FLUSH, until=b""),
        say(function_call(UPPER_OF_TEXT, b"a"), until=b""),
        say(close_statement("t"), FLUSH, until=b""),
        say(SYNC),
        say(query("select count(*) from described where a = 7")),
    )


def test_the_server_is_free_between_the_question_and_the_run(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy, table: str
):
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.raw() as asking, proxy.raw() as other:
        for text in (READ, WRITE):
            asking.send(parse(text, text[:6]), describe_statement(text[:6]), FLUSH)
            asking.frames_until(ENDS[text])
        for text in ("select 1", "insert into described values (3)"):
            assert other.query(text)[-1].payload == b"I"
        asking.send(run("insert"))
        assert asking.codes_until(b"Z") == b"2CZ"


@pytest.mark.parametrize("name", ["", "s"])
def test_what_it_runs_goes_where_it_belongs(proxy: Proxy, table: str, name: str):
    def route(client: RawClient, text: str) -> str:
        client.send(parse(text, name), describe_statement(name), FLUSH)
        client.frames_until(ENDS[text])
        client.send(run(name))
        client.frames_until(b"Z")
        if name:
            client.send(close_statement(name), SYNC)
            client.frames_until(b"Z")
        [[said]] = rows(client.query("show rwsplit.last_route"))
        assert said is not None
        return said.decode()

    with proxy.raw() as client:
        assert route(client, READ).startswith("replica")
        client.query("begin")
        assert route(client, READ).startswith("replica")
        for text in (WRITE, READ):  # it has moved with the question
            assert route(client, text).startswith("primary IN_TRANSACTION")
        client.query("rollback")
        assert route(client, WRITE).startswith("primary MAY_WRITE")
