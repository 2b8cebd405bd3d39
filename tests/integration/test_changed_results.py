"""DDL changes what a prepared statement returns: a client that goes by what it was told hears of it on every server.

Each conversation is one a driver has: it parses once, describes once (asyncpg, pgjdbc) or never, and then only binds and executes.
PostgreSQL itself is asked the same; what rwsplit answers must be that, on servers that have the statement and on all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import (
    FLUSH,
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

CHANGED = ("0A000", "cached plan must not change result type")
RETYPED = "alter table changed alter a type bigint"
#: More than there are nodes, so that every server comes to it.
OFTEN = 6


class Change(NamedTuple):
    """A statement and what changes its result."""

    text: str
    ddl: Sequence[str]
    values: Sequence[str | bytes] = ()
    formats: Sequence[int] = ()


TABLE = ("drop table if exists changed cascade", "create table changed (a int, z int)")
FILLED = (*TABLE, "insert into changed values (258, 1)")
CHANGES = {
    "a type": Change("select a from changed", ["alter table changed alter a type bigint"]),
    "a text": Change("select a from changed", ["alter table changed alter a type text"]),
    "a column more": Change("select * from changed", ["alter table changed add b int"]),
    "a column less": Change("select * from changed", ["alter table changed drop column z"]),
    "a name": Change("select * from changed", ["alter table changed rename z to y"]),
    "a modifier": Change(
        "select a::numeric(9,2) as a from changed union all select b from changed_limit",
        ["alter table changed_limit alter b type numeric(12,4)"],
    ),
    "another table": Change(
        "select a from changed",
        [
            "drop table changed cascade",
            "create table changed (a numeric)",
            "insert into changed values (258)",
        ],
    ),
    "another enum": Change(
        "select e from changed_enum",
        [
            "drop table changed_enum",
            "drop type changed_mood",
            "create type changed_mood as enum ('fine')",
            "create table changed_enum (e changed_mood)",
            "insert into changed_enum values ('fine')",
        ],
    ),
    "a view": Change(
        "select * from changed_view",
        [
            "drop view changed_view",
            "create view changed_view as select a::text from changed_viewed",
        ],
    ),
    "a function": Change(
        "select changed_function()",
        [
            "drop function changed_function()",
            "create function changed_function() returns text immutable language sql as 'select ''x'''",
        ],
    ),
    "a domain": Change(
        "select d from changed_domain",
        [
            "drop table changed_domain",
            "drop domain changed_number",
            "create domain changed_number as bigint",
            "create table changed_domain (d changed_number)",
            "insert into changed_domain values (258)",
        ],
    ),
    "another search path": Change(
        "select b from changed_by_path", ["set search_path = changed_schema, public"]
    ),
    "what a write returns": Change(
        "update changed set z = z + 1 returning *", ["alter table changed add b int"]
    ),
    "the type of a parameter": Change(
        "select z from changed where a = $1",
        ["alter table changed alter a type bigint"],
        [(258).to_bytes(4, "big")],
        [1],
    ),
    "nothing, by the same table made again": Change(
        "select a from changed",
        ["drop table changed cascade", "create table changed (z int, a int)"],
    ),
    "a table that is gone": Change("select a from changed", ["drop table changed cascade"]),
}
SETUP = (
    *FILLED,
    "drop table if exists changed_viewed cascade",
    "create table changed_viewed (a int)",
    "insert into changed_viewed values (258)",
    "create view changed_view as select a from changed_viewed",
    "drop table if exists changed_limit, changed_enum, changed_domain, changed_by_path",
    "create table changed_limit (b numeric(9,2))",
    "drop type if exists changed_mood",
    "drop domain if exists changed_number",
    "create type changed_mood as enum ('fine')",
    "create table changed_enum (e changed_mood)",
    "insert into changed_enum values ('fine')",
    "create domain changed_number as int",
    "create table changed_domain (d changed_number)",
    "insert into changed_domain values (258)",
    "drop function if exists changed_function()",
    "create function changed_function() returns int immutable language sql as 'select 258'",
    "create table changed_by_path (b int)",
    "insert into changed_by_path values (258)",
    "drop schema if exists changed_schema cascade",
    "create schema changed_schema",
    "create table changed_schema.changed_by_path (b text)",
    "insert into changed_schema.changed_by_path values ('258')",
)
CLEANUP = (
    "drop table if exists changed, changed_viewed, changed_limit, changed_enum, changed_domain, changed_by_path cascade",
    "drop type if exists changed_mood",
    "drop domain if exists changed_number",
    "drop function if exists changed_function()",
    "drop schema if exists changed_schema cascade",
)


@pytest.fixture(scope="module", params=[2, 4], ids=["two servers", "four servers"])
def proxy(
    cluster: ReachableCluster[Any],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Proxy]:
    settings = {"pool": {"size": request.param}}
    with Proxy(cluster, tmp_path_factory.mktemp("changed"), settings) as running:
        yield running
    with cluster.primary.connect("app", "app") as connection:
        for text in CLEANUP:
            connection.execute(text)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def tables(cluster: ReachableCluster[Any]) -> None:
    reset(cluster)


def reset(cluster: ReachableCluster[Any], proxy: Proxy | None = None) -> None:
    """Make the tables anew; *proxy*, if given, is to know of it at once."""
    connected = cluster.primary.connect("app", "app") if proxy is None else proxy.connect()
    with connected as connection:
        for text in SETUP:
            connection.execute(text)  # type: ignore[call-overload]
    cluster.wait_until_replayed()


def client_of(stack: ExitStack, proxy: Proxy, port: int | None = None) -> RawClient:
    client = stack.enter_context(RawClient(port or proxy.port))
    client.log_in(user="app", database="app", password=proxy.cluster.passwords["app"])
    return client


def ask(client: RawClient, *messages: bytes) -> list[Frame]:
    client.send(*messages)
    return client.frames_until(b"Z")


def verdict(frames: Sequence[Frame]) -> Any:
    """Return what counts of an answer: the error, or the rows, and the transaction's status."""
    errors = [error_fields(frame.payload) for frame in frames if frame.code == b"E"]
    said = [(fields["C"], fields["M"]) for fields in errors] or rows(frames)
    return said, frames[-1].payload


Use = Callable[[RawClient, bytes], Any]


def alone(client: RawClient, run: bytes) -> Any:
    return verdict(ask(client, run, SYNC))


def in_a_transaction(client: RawClient, run: bytes) -> Any:
    said = [verdict(ask(client, query("begin"))), alone(client, run), alone(client, run)]
    return [*said, verdict(ask(client, query("rollback")))]


def in_one_that_has_read(client: RawClient, run: bytes) -> Any:
    ask(client, query("begin"))
    ask(client, query("select 1"))
    said = [alone(client, run), verdict(ask(client, query("select 'still there'")))]
    return [*said, verdict(ask(client, query("rollback")))]


def in_a_pipeline(client: RawClient, run: bytes) -> Any:
    insert = parse("insert into changed_limit values (7)") + bind() + execute()
    client.send(insert, run, insert, SYNC, query("select 'next'"))
    said = [verdict(client.frames_until(b"Z")) for _ in range(2)]
    return [*said, verdict(ask(client, query("select count(*) from changed_limit")))]


def behind_a_flush(client: RawClient, run: bytes) -> Any:
    ask(client, query("rollback"))
    client.send(parse("select 'first'"), bind(), execute(), FLUSH)
    first = client.frames_until(b"C")
    client.send(run, FLUSH, SYNC)
    return rows(first), verdict(client.frames_until(b"Z"))


USES: dict[str, Use] = {
    each.__name__: each
    for each in (alone, in_a_transaction, in_one_that_has_read, in_a_pipeline, behind_a_flush)
}


def played(
    stack: ExitStack, proxy: Proxy, change: Change, use: Use, *, port: int | None, by: str
) -> list[Any]:
    """Return what a client hears that goes by what it was told before *change*."""
    reset(proxy.cluster, proxy)  # type: ignore[arg-type]
    client = client_of(stack, proxy, port)
    told = parse(change.text, "s") + (describe_statement("s") if by != "undescribed" else b"")
    said = [[frame.code for frame in ask(client, told, SYNC)]]
    run = bind("s", change.values, formats=change.formats, results=[1]) + execute()
    said.append(verdict(ask(client, run, SYNC)))
    changer = client
    if by == "another" and "search_path" not in change.ddl[0]:
        changer = client_of(stack, proxy, port)
    elif by == "elsewhere" and "search_path" not in change.ddl[0]:
        changer = client_of(stack, proxy, proxy.cluster.primary.port)
    for text in change.ddl:
        ask(changer, query(text))
    if changer is not client:
        proxy.cluster.wait_until_replayed()  # type: ignore[union-attr]
    said += [use(client, run) for _ in range(OFTEN)]
    # What PostgreSQL says it says until the client parses it again; then it goes on.
    ask(client, close_statement("s"), SYNC)
    ask(client, parse(change.text, "s"), SYNC)
    ask(client, query("rollback"))
    return [*said, *[alone(client, run) for _ in range(OFTEN)]]


@pytest.mark.parametrize("by", ["itself", "another", "elsewhere", "undescribed"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_client_is_told_as_directly_that_a_result_has_changed(
    proxy: Proxy, stack: ExitStack, change: str, by: str
):
    if by == "elsewhere" and change in ("the type of a parameter", "a table that is gone"):
        pytest.skip("nobody hears of DDL that changes no result and passes by rwsplit")
    direct = played(
        stack, proxy, CHANGES[change], alone, port=proxy.cluster.primary.port, by=by
    )
    assert played(stack, proxy, CHANGES[change], alone, port=None, by=by) == direct


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("change", ["a type", "a column more", "what a write returns"])
def test_wherever_it_uses_the_statement(proxy: Proxy, stack: ExitStack, change: str, use: str):
    direct = played(
        stack,
        proxy,
        CHANGES[change],
        USES[use],
        port=proxy.cluster.primary.port,
        by="elsewhere",
    )
    ours = played(stack, proxy, CHANGES[change], USES[use], port=None, by="elsewhere")
    assert ours == direct


@pytest.mark.usefixtures("tables")
def test_sessions_that_were_told_different_things_share_no_statement(
    proxy: Proxy, stack: ExitStack
):
    text, run = "select a from changed", bind("s", results=[1]) + execute() + SYNC
    old, new = client_of(stack, proxy), client_of(stack, proxy)
    ask(old, parse(text, "s"), describe_statement("s"), SYNC)
    ask(old, run)
    assert verdict(ask(new, query("alter table changed alter a type bigint"))) == ([], b"I")
    proxy.cluster.wait_until_replayed()  # type: ignore[union-attr]
    ask(new, parse(text, "s"), describe_statement("s"), SYNC)

    for _ in range(OFTEN):
        assert rows(ask(new, run)) == [((258).to_bytes(8, "big"),)]
        [said] = verdict(ask(old, run))[0]
        assert said == CHANGED


def by_itself(client: RawClient, run: bytes) -> Any:
    return verdict(ask(client, run, SYNC))


def beside_another(client: RawClient, run: bytes) -> Any:
    other = bind("other") + execute()
    return verdict(ask(client, other, run, other, SYNC))


def continuing_a_unit(client: RawClient, run: bytes) -> Any:
    client.send(bind("other"), execute(), FLUSH)
    first = client.frames_until(b"C")
    client.send(run, FLUSH)
    client.send(SYNC)
    return rows(first), verdict(client.frames_until(b"Z"))


def described_again(client: RawClient, run: bytes) -> Any:
    return verdict(ask(client, describe_statement(), SYNC)), verdict(ask(client, run, SYNC))


UNNAMED_USES: dict[str, Use] = {
    each.__name__: each
    for each in (by_itself, beside_another, continuing_a_unit, described_again)
}


def played_unnamed(
    stack: ExitStack, proxy: Proxy, change: Change, use: Use, *, port: int | None
) -> list[Any]:
    """Return what a client hears that describes its unnamed statement in a unit of its own (pgx's describe_exec)."""
    reset(proxy.cluster, proxy)  # type: ignore[arg-type]
    client = client_of(stack, proxy, port)
    ask(client, parse("select 'other'", "other"), SYNC)
    told = parse(change.text) + describe_statement()
    said = [[frame.code for frame in ask(client, told, SYNC)]]
    run = bind("", change.values, formats=change.formats, results=[1]) + execute()
    said.append(verdict(ask(client, run, SYNC)))
    changer = client_of(stack, proxy, port)
    for text in change.ddl:
        ask(changer, query(text))
    proxy.cluster.wait_until_replayed()  # type: ignore[union-attr]
    said += [use(client, run) for _ in range(OFTEN)]
    said.append([frame.code for frame in ask(client, told, SYNC)])
    return [*said, *[verdict(ask(client, run, SYNC)) for _ in range(OFTEN)]]


@pytest.mark.parametrize("use", UNNAMED_USES)
@pytest.mark.parametrize("change", [name for name in CHANGES if "search path" not in name])
def test_the_unnamed_statement_changes_no_more_than_a_named_one(
    proxy: Proxy, stack: ExitStack, change: str, use: str
):
    played = [
        played_unnamed(stack, proxy, CHANGES[change], UNNAMED_USES[use], port=port)
        for port in (proxy.cluster.primary.port, None)
    ]
    assert played[1] == played[0]


@pytest.mark.usefixtures("tables")
def test_sessions_that_were_told_different_things_share_no_unnamed_statement(
    proxy: Proxy, stack: ExitStack
):
    told = parse("select a from changed") + describe_statement() + SYNC
    run = bind("", results=[1]) + execute() + SYNC
    old, new = client_of(stack, proxy), client_of(stack, proxy)
    ask(old, told)
    assert verdict(ask(client_of(stack, proxy), query(RETYPED))) == ([], b"I")
    proxy.cluster.wait_until_replayed()  # type: ignore[union-attr]
    ask(new, told)

    for _ in range(OFTEN):
        assert rows(ask(new, run)) == [((258).to_bytes(8, "big"),)]
        assert verdict(ask(old, run))[0] == [CHANGED]


EXECUTES = {
    "parsed before": (parse("execute s", "ex"), bind("ex") + execute()),
    "parsed with it": (
        b"",
        close_statement("ex") + parse("execute s", "ex") + bind("ex") + execute(),
    ),
    "unnamed": (b"", parse("execute s") + bind() + execute()),
    "described": (parse("execute s", "ex"), bind("ex") + describe_portal() + execute()),
    "a Query": (b"", None),
}


@pytest.mark.parametrize("how", EXECUTES)
def test_execute_of_a_statement_whose_result_has_changed(
    proxy: Proxy, stack: ExitStack, how: str
):
    """It fails as the statement itself would."""

    def played(port: int | None) -> list[Any]:
        reset(proxy.cluster, proxy)  # type: ignore[arg-type]
        client = client_of(stack, proxy, port)
        before, run = EXECUTES[how]
        ask(
            client, parse("select a from changed", "s") + describe_statement("s") + before, SYNC
        )

        def once() -> Any:
            return verdict(ask(client, run, SYNC) if run else ask(client, query("execute s")))

        said = [once()]
        ask(client_of(stack, proxy, port), query(RETYPED))
        proxy.cluster.wait_until_replayed()  # type: ignore[union-attr]
        return [*said, *[once() for _ in range(OFTEN)]]

    assert played(None) == played(proxy.cluster.primary.port)


@pytest.mark.usefixtures("tables")
def test_sessions_with_different_search_paths_share_no_statement(
    proxy: Proxy, stack: ExitStack
):
    text, run = "select b from changed_by_path", bind("s", results=[1]) + execute() + SYNC
    one, other = client_of(stack, proxy), client_of(stack, proxy)
    ask(other, query("set search_path = changed_schema"))
    for client in (one, other):
        ask(client, parse(text, "s"), SYNC)

    for _ in range(OFTEN):
        assert rows(ask(one, run)) == [((258).to_bytes(4, "big"),)]
        assert rows(ask(other, run)) == [(b"258",)]


@pytest.mark.usefixtures("tables")
def test_a_write_whose_result_has_changed_is_not_done(proxy: Proxy, stack: ExitStack):
    client = client_of(stack, proxy)
    ask(client, parse("update changed set z = z + 1 returning *", "s"), SYNC)
    ask(client_of(stack, proxy), query("alter table changed add b int"))

    for _ in range(OFTEN):
        [said] = verdict(ask(client, bind("s"), execute(), SYNC))[0]
        assert said == CHANGED
    assert rows(ask(client, query("/* rwsplit: primary */ select z from changed"))) == [(b"1",)]


@pytest.mark.usefixtures("tables")
def test_who_says_how_columns_are_returned_that_are_not_there_hears_the_same(
    proxy: Proxy, stack: ExitStack
):
    client = client_of(stack, proxy)
    ask(client, parse("select * from changed", "s"), describe_statement("s"), SYNC)
    ask(client, query("alter table changed add b int"))

    said = verdict(ask(client, bind("s", results=[1, 1]), describe_portal(), execute(), SYNC))

    assert said == ([CHANGED], b"I")


@pytest.mark.usefixtures("tables")
def test_statements_come_back_to_what_they_were(proxy: Proxy, stack: ExitStack):
    client = client_of(stack, proxy)
    run = bind("s", results=[1]) + execute() + SYNC
    ask(client, parse("select a from changed", "s"), SYNC)
    for kind, expected in (("bigint", [CHANGED]), ("int", [((258).to_bytes(4, "big"),)])) * 2:
        altered = verdict(ask(client, query(f"alter table changed alter a type {kind}")))
        assert altered == ([], b"I")
        for _ in range(OFTEN):
            assert verdict(ask(client, run)) == (expected, b"I")


@pytest.mark.usefixtures("tables")
def test_a_statement_is_bound_in_an_open_unit_that_has_parsed_it_before(
    proxy: Proxy, stack: ExitStack
):
    """Nobody has asked for the answer to the Parse: rwsplit, which waits for it, must."""
    told = parse("select a from changed", "s") + describe_statement("s") + SYNC
    ask(client_of(stack, proxy), told)
    watch = proxy.cluster.primary
    client = client_of(stack, proxy)
    for _ in range(OFTEN):
        client.send(parse("/* rwsplit: primary */ select 'first'"), bind(), execute(), FLUSH)
        first = client.frames_until(b"C")
        client.send(parse("select a from changed", "s"), bind("s"), execute())
        # It goes to the server though it lacks its Sync: the client may wait for an error.
        assert wait_until(lambda: _runs(watch, "select a from changed"), timeout=5)
        client.send(bind("s"), execute(), FLUSH)
        second, third = client.frames_until(b"C"), client.frames_until(b"C")
        client.send(close_statement("s"), SYNC)
        client.frames_until(b"Z")
        assert [rows(each) for each in (first, second, third)] == [
            [(b"first",)],
            [(b"258",)],
            [(b"258",)],
        ]


def _runs(node: Any, text: str) -> bool:
    return bool(
        node.query(
            "select 1 from pg_stat_activity where usename = 'app' and state = 'active' and query = %s",
            text,
        )
    )


WRITING = "insert into changed values (1, 1) returning a"


def held(cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack) -> RawClient:
    """Return a client whose server has a statement that fails when it is bound next, which nobody but PostgreSQL knows."""
    client = stack.enter_context(proxy.raw())
    for text in FILLED:
        client.query(text)
    client.send(parse(WRITING, "w"), describe_statement("w"), SYNC)
    client.frames_until(b"Z")
    client.send(bind("w"), execute(), SYNC)
    client.frames_until(b"Z")
    with cluster.primary.connect("app", "app") as other:
        other.execute(RETYPED)
    return client


def test_in_a_unit_that_is_open_its_client_ends_it(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack
):
    client = held(cluster, proxy, stack)
    client.send(bind("w"), execute(), FLUSH)
    assert client.error()["C"] == CHANGED[0]
    client.send(SYNC)
    assert client.codes_until(b"Z") == b"Z"
    for text in ("select 7", "select 8"):
        client.send(query(text))
        assert client.codes_until(b"Z") == b"TDCZ"


def test_behind_it_data_may_be_on_its_way(
    cluster: ReachableCluster[Any], proxy: Proxy, stack: ExitStack
):
    client = held(cluster, proxy, stack)
    insert = query("insert into changed values (length('" + "x" * 3_000_000 + "'), 2)")
    client.send(query("select pg_sleep(0.3), txid_current()"), bind("w"), execute(), SYNC)
    client.send(insert[:2_000_000])
    client.frames_until(b"Z")
    assert client.codes_until(b"Z") == b"EZ"
    client.send(insert[2_000_000:])
    assert client.codes_until(b"Z") == b"CZ"
    assert rows(client.query("select a from changed where z = 2")) == [(b"3000000",)]
