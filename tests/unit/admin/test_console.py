"""Conversations with the console: what psql, psycopg and asyncpg say, and what nobody should."""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncpg is an asyncio driver
import socket
import struct

import asyncpg
import attrs
import psycopg
import pytest
import trio
from psycopg.rows import dict_row

from rwsplit.admin.console import MAX_PREPARED, serve_console
from rwsplit.config.loader import load
from rwsplit.config.model import PoolConfig
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.console_peer import Peer
from tests.support.operator import FakeLogin, FakeOperator, running_console


@pytest.fixture
def operator():
    return FakeOperator()


@pytest.fixture
def port(operator):
    with running_console(operator) as port:
        yield port


def connect(port: int, **options) -> psycopg.Connection:
    where = {"host": "127.0.0.1", "port": port, "dbname": "rwsplit", "user": "admin"}
    return psycopg.connect(**{**where, "sslmode": "disable", "autocommit": True, **options})


def test_psycopg_reads_typed_rows(port):
    with connect(port, row_factory=dict_row) as connection:
        rows = connection.execute("SHOW NODES").fetchall()
    assert [row["node"] for row in rows] == ["primary", "replica1", "replica2", "replica3"]
    lagging = rows[2]
    assert lagging["eligible"] is False
    assert (lagging["refusal"], lagging["refusal_detail"]) == ("LAGGING", "12.3 s > 10 s")
    assert lagging["lag_bytes"] == 0x1000060
    assert lagging["staleness"] == 12.3
    assert rows[1]["eligible"] is True
    assert rows[1]["lsn"] == "0/3000060"
    assert rows[1]["reads"] == 42
    assert rows[3]["health"] == "down"


def test_psycopg_works_without_autocommit_and_in_a_transaction_block(port):
    with connect(port, autocommit=False) as connection:
        assert connection.execute("SHOW VERSION").fetchone()[0].startswith("rwsplit ")
        assert connection.info.transaction_status.name == "INTRANS"
        connection.rollback()
        with connection.transaction():
            connection.execute("SHOW POOLS")
        assert connection.info.transaction_status.name == "IDLE"


def test_psycopg_binds_parameters_on_both_sides(port, operator):
    with connect(port) as connection:
        connection.execute("DETACH NODE %s", ["replica1"])
        cursor = psycopg.ClientCursor(connection)
        cursor.execute("EXPLAIN ROUTE %s", ["select '\\' || 'x'"])
    assert operator.done == ["DETACHED replica1", "EXPLAIN select '\\' || 'x' False"]


def test_psycopg_reads_binary_rows_and_prepared_statements(port):
    with connect(port) as connection:
        for _ in range(3):
            cursor = connection.execute("SHOW NODES", prepare=True, binary=True)
            names = [column.name for column in cursor.description]
            row = dict(zip(names, cursor.fetchall()[2], strict=True))
            assert (row["lag_bytes"], row["staleness"], row["backup"]) == (
                0x1000060,
                12.3,
                False,
            )
        assert connection.execute("select 1").fetchone() == (1,)
        assert connection.execute("select version()").fetchone()[0].startswith("PostgreSQL 16")


def test_psycopg_pipelines(port):
    with connect(port) as connection, connection.pipeline():
        cursors = [connection.execute("SHOW LISTS") for _ in range(3)]
        for cursor in cursors:
            assert ("nodes", 4) in cursor.fetchall()


def test_asyncpg_reads_rows_in_binary(port):
    async def talk():
        connection = await asyncpg.connect(
            host="127.0.0.1", port=port, user="admin", database="pgbouncer", ssl=False
        )
        try:
            rows = await connection.fetch("SHOW NODES")
            first = await connection.fetchrow("SHOW POOLS")
            await connection.execute("DRAIN NODE replica2")
            explained = await connection.fetch("EXPLAIN ROUTE $1", "insert into t values (1)")
            await connection.reset()
            async with connection.transaction():
                assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()
        return rows, first, explained

    rows, first, explained = asyncio.run(talk())
    assert rows[2]["lag_bytes"] == 0x1000060
    assert rows[2]["staleness"] == 12.3
    assert (first["cl_waiting"], first["maxwait"], first["maxwait_us"]) == (2, 1, 250000)
    assert ("route", "reason", "MAY_WRITE", "it may write") in [tuple(row) for row in explained]


def test_an_unknown_command_is_one_error_with_the_verbs_and_the_session_goes_on(port):
    with connect(port) as connection:
        with pytest.raises(psycopg.errors.SyntaxError) as caught:
            connection.execute("FROBNICATE ALL")
        assert caught.value.diag.message_primary == "unknown command: FROBNICATE ALL"
        assert caught.value.diag.message_hint == "SHOW HELP lists the commands."
        with pytest.raises(psycopg.errors.SyntaxError, match="there is no SHOW NODDES"):
            connection.execute("SHOW NODDES")
        with pytest.raises(psycopg.errors.UndefinedObject, match="there is no node 'pg9'"):
            connection.execute("ATTACH NODE pg9")
        assert connection.execute("SHOW HELP").fetchall()


def test_what_drivers_say_on_their_own_account_is_answered(port):
    with connect(port) as connection:
        for chatter in [
            "SET client_encoding TO 'UTF8'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET extra_float_digits = 3; SET application_name = 'x'",
            "BEGIN; COMMIT",
            "DISCARD ALL",
            "RESET ALL",
            "DEALLOCATE ALL",
            "",
            ";",
            "-- ping",
        ]:
            connection.execute(chatter)
        for asked, answer in [
            ("SHOW transaction_isolation", "read committed"),
            ("SHOW TRANSACTION ISOLATION LEVEL", "read committed"),
            ("SHOW standard_conforming_strings", "on"),
            ("SHOW DateStyle", "ISO, MDY"),
            ("SELECT current_database()", "rwsplit"),
            ("SELECT current_user", "admin"),
            ("SELECT pg_catalog.version()", "PostgreSQL 16.0 (rwsplit console)"),
            ("SELECT 'ping'", "ping"),
        ]:
            assert connection.execute(asked).fetchone() == (answer,)


def test_verbs_reach_the_operator(port, operator):
    with connect(port) as connection:
        notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for verb in [
            "ATTACH NODE replica1",
            "DETACH replica1",
            'drain node "replica1"',
            "PROMOTE NODE replica1",
            "RECONNECT app",
            "RECONNECT",
            "RELOAD",
            "SHUTDOWN WAIT_FOR_SERVERS",
            "SHUTDOWN",
        ]:
            connection.execute(verb)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="already"):
            connection.execute("PROMOTE NODE primary")
        with pytest.raises(
            psycopg.errors.ObjectNotInPrerequisiteState, match="no configuration"
        ):
            connection.execute("SET consistency.max_lag = 7s")
    assert operator.done == [
        "ATTACHED replica1",
        "DETACHED replica1",
        "DRAINING replica1",
        "PROMOTE replica1",
        "RECONNECT app",
        "RECONNECT None",
        "RELOAD",
        "SHUTDOWN wait=True",
        "SHUTDOWN wait=False",
    ]
    assert notices == [
        "replica1 is the primary (timeline 2), writes resumed after 2.1 s",
        "consistency.max_lag: 10s -> 5s",
    ]


def test_a_refused_setting_is_reported_with_every_problem(port, operator, tmp_path):
    file = tmp_path / "rwsplit.yaml"
    file.write_text("nodes: {primary: h}\nauth: {type: trust}\nadmin: {users: admin}\n")
    operator.config = load(file)
    with connect(port) as connection:
        connection.execute("SET consistency.max_lag = '7s'")
        with pytest.raises(psycopg.Error, match=r"pool\.size: must be at least 1, got 0"):
            connection.execute("SET pool.size = 0")
        file.write_text("nodes: {}\nquux: 1\n")
        with pytest.raises(psycopg.Error, match="the configuration has 3 problems") as caught:
            connection.execute("RELOAD")
    assert "quux: unknown setting" in caught.value.diag.message_detail
    assert caught.value.sqlstate == "F0000"


def test_only_admin_users_may_enter(port):
    with pytest.raises(psycopg.OperationalError, match="user 'alice' may not use the console"):
        connect(port, user="alice")


def test_an_admin_removed_by_a_reload_loses_the_console_at_the_next_command(port, operator):
    with connect(port) as connection:
        assert connection.execute("SHOW VERSION").fetchone()
        removed = attrs.evolve(operator.config.admin, users=("somebody_else",))
        operator.config = attrs.evolve(operator.config, admin=removed)

        with pytest.raises(psycopg.Error, match="'admin' may not use the console"):
            connection.execute("SHOW VERSION")
        assert connection.closed


def test_a_broken_view_is_an_error_and_not_the_end(port, operator, capsys):
    operator.broken = True
    with connect(port) as connection:
        with pytest.raises(psycopg.errors.InternalError_, match="ZeroDivisionError: a bug"):
            connection.execute("SHOW POOLS")
        assert connection.execute("SHOW STATS").fetchall() == [
            ("app", 10, None, None, 500000, 0)
        ]


@pytest.fixture
async def peer(operator, nursery):
    ours, theirs = socket.socketpair()
    stream = WireStream(PlainWire(theirs))

    async def serve():
        try:
            await serve_console(stream, FakeLogin(), operator)
        finally:
            stream.close()

    nursery.start_soon(serve)
    peer = Peer(ours)
    greeting = await peer.hear()
    assert {code for code, _ in greeting} == {"S", "Z"}
    assert ("S", b"server_version\x0016.0\0") in greeting
    yield peer
    peer.stream.close()


async def test_after_an_error_everything_up_to_sync_is_skipped(peer):
    await peer.say(
        frontend.parse("", "NONSENSE"),
        frontend.bind("", ""),
        frontend.query("SHOW VERSION"),
        frontend.sync(),
        frontend.query("SHOW VERSION"),
    )
    assert await peer.codes() == "EZ"
    assert await peer.codes() == "TDCZ"


async def test_a_row_limit_suspends_a_portal(peer):
    await peer.say(
        frontend.parse("s", "SHOW NODES"),
        frontend.describe(b"S", "s"),
        frontend.bind("p", "s"),
        frontend.execute("p", 3),
        frontend.execute("p", 3),
        frontend.close(b"P", "p"),
        frontend.close(b"S", "s"),
        frontend.flush(),
        frontend.sync(),
    )
    assert await peer.codes() == "1tT2DDDsDC33Z"


async def test_a_portal_lives_as_long_as_its_transaction(peer):
    await peer.say(frontend.query("BEGIN"))
    assert (await peer.hear())[-1] == ("Z", b"T")
    await peer.say(frontend.parse("", "SHOW LISTS"), frontend.bind("p", ""), frontend.sync())
    assert await peer.codes() == "12Z"
    await peer.say(frontend.execute("p"), frontend.sync(), frontend.query("COMMIT"))
    assert (await peer.codes())[-2:] == "CZ"
    await peer.hear()
    await peer.say(frontend.execute("p"), frontend.sync())
    (code, payload), _ = await peer.hear()
    assert (code, parse_error_fields(payload)["M"]) == ("E", "portal 'p' does not exist")


async def test_names_are_checked(peer):
    for frames, sentence in [
        ([frontend.bind("", "nope")], "prepared statement 'nope' does not exist"),
        ([frontend.parse("a", "RELOAD"), frontend.parse("a", "RELOAD")], "already exists"),
        ([frontend.parse("", "RELOAD; RELOAD")], "cannot insert multiple commands"),
        ([frontend.parse("b", "DRAIN NODE $1"), frontend.bind("", "b")], "$1 has no value"),
        ([frontend.bind("", "b", [None])], "$1 has no value"),
    ]:
        await peer.say(*frames, frontend.sync())
        heard = await peer.hear()
        assert sentence in parse_error_fields(heard[-2][1])["M"]


async def test_empty_statements_are_answered_as_such(peer):
    await peer.say(frontend.query(""))
    assert await peer.codes() == "IZ"
    await peer.say(
        frontend.parse("", " "),
        frontend.bind("", ""),
        frontend.describe(b"P", ""),
        frontend.execute(),
        frontend.sync(),
    )
    assert await peer.codes() == "12nIZ"


async def test_statements_are_bounded_and_discarded(peer):
    await peer.say(*(frontend.parse(f"s{n}", "RELOAD") for n in range(MAX_PREPARED + 1)))
    await peer.say(frontend.sync())
    assert (await peer.codes())[-2:] == "EZ"
    await peer.say(
        frontend.query("DISCARD ALL"), frontend.parse("s0", "RELOAD"), frontend.sync()
    )
    assert await peer.codes() == "CZ"
    assert await peer.codes() == "1Z"


@pytest.mark.parametrize(
    "frame",
    [
        b"F\0\0\0\x04",
        b"Q\0\0\0\x05x",
        b"Q\0\0\0\x07\0\0\0",
        b"B\0\0\0\x08\0\0\0\x05",
        b"B\0\0\0\x11\0\0\0\0\0\x01\0\0\0\x09abc"[:18],
        b"D\0\0\0\x06X\0",
        b"P\0\0\0\x04",
        b"Q" + struct.pack("!I", 1 << 30),
        b"Q\0\0\0\x03",
    ],
)
async def test_a_malformed_message_ends_the_session_with_08p01(peer, frame):
    await peer.say(frame)
    (code, payload), *rest = await peer.hear()
    assert (code, parse_error_fields(payload)["C"], rest) == ("E", "08P01", [])


async def test_terminate_and_a_lost_client_end_it_quietly(peer, operator):
    await peer.say(frontend.terminate())
    assert await peer.hear() == []
    ours, theirs = socket.socketpair()
    ours.close()
    stream = WireStream(PlainWire(theirs))
    with trio.fail_after(5):
        await serve_console(stream, FakeLogin(), operator)
    stream.close()


async def test_a_client_that_idles_is_told_and_ends(operator, nursery, autojump_clock):
    pool = PoolConfig(client_idle_timeout=30)
    operator.config = attrs.evolve(operator.config, pool=pool)
    ours, theirs = socket.socketpair()
    stream = WireStream(PlainWire(theirs))
    nursery.start_soon(serve_console, stream, FakeLogin(), operator)
    peer = Peer(ours)
    await peer.hear()
    await trio.sleep(29)
    await peer.say(frontend.query("SHOW VERSION"))
    assert (await peer.hear())[-1][0] == "Z"

    begun = trio.current_time()
    code, payload = await peer.stream.read_frame()

    assert (chr(code), parse_error_fields(payload)["C"]) == ("E", "57P05")
    assert trio.current_time() - begun == pytest.approx(30)
    peer.stream.close()
    stream.close()


async def test_one_that_does_not_read_is_left_in_the_end(operator, autojump_clock):
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = Peer(ours)
    await client.say(frontend.query("SHOW CONFIG") * 500)
    stream = WireStream(PlainWire(theirs))

    begun = trio.current_time()
    await serve_console(stream, FakeLogin(), operator)

    assert trio.current_time() - begun == pytest.approx(
        operator.config.pool.client_write_timeout
    )
    stream.close()
    ours.close()
