"""Bytes no client should send: one clear error, nobody else harmed, nothing left behind."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, Load
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import (
    GSSENC_REQUEST,
    PROTOCOL_3_0,
    SSL_REQUEST,
    Frame,
    RawClient,
    error_fields,
    message,
    startup,
)

pytestmark = pytest.mark.integration

#: Seconds a connection may live on after the attacker has said all it had to say.
PATIENCE = 10.0
LENGTHS = (0, 1, 3, -1, -(2**31), 2**31 - 1, 0x3FFFFFFF, 0x40000000)
FRONTEND = b"QPBEDCSHFdcfXp"


def check(connection: Connection) -> object:
    """What the others do meanwhile; a wrong answer is an error."""
    number = random.randrange(10**6)
    row = connection.execute("select %s::int, 'unharmed'", (number,)).fetchone()
    assert row == (number, "unharmed")
    return None


# What is sent...


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 300))


def bad_length(chance: random.Random) -> bytes:
    code = bytes([chance.choice(FRONTEND)])
    return code + struct.pack("!i", chance.choice(LENGTHS)) + chance.randbytes(20)


def unknown_type(chance: random.Random) -> bytes:
    code = chance.choice([n for n in range(256) if n not in FRONTEND])
    return message(bytes([code]), chance.randbytes(chance.randint(0, 40)))


def right_frame_wrong_payload(chance: random.Random) -> bytes:
    frames = [
        message(bytes([chance.choice(FRONTEND)]), chance.randbytes(chance.randint(0, 60)))
        for _ in range(chance.randint(1, 6))
    ]
    return b"".join(frames) + message(b"S")


def mutated(chance: random.Random) -> bytes:
    """A conversation as it should be, with a few bytes changed."""
    good = b"".join(
        (
            message(b"P", b"s\0select $1::int\0\0\1\0\0\0\x17"),
            message(b"D", b"Ss\0"),
            message(b"B", b"\0s\0\0\0\0\1\0\0\0\x011\0\0"),
            message(b"E", b"\0\0\0\0\0"),
            message(b"C", b"Ss\0"),
            message(b"S"),
            message(b"Q", b"select 1; select 2\0"),
            message(b"F", struct.pack("!ihhih", 1598, 0, 0, 0, 0)),
        )
    )
    changed = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randint(5, len(changed))])


def no_text(chance: random.Random) -> bytes:
    return chance.choice(
        (
            message(b"Q", b"select 1"),
            message(b"Q"),
            message(b"Q", b"select 1\0select 2\0"),
            message(b"P", b"a\0select 1"),
            message(b"P", b"a"),
            message(b"B", b"\0"),
            message(b"B", b"\0\0\x7f\xff"),
            message(b"E", b"\0\0"),
            message(b"D", b"Xa\0"),
            message(b"C", b""),
            message(b"S", b"surplus"),
            message(b"d", b"data"),
        )
    ) + message(b"S")


def startups(chance: random.Random) -> bytes:
    good = startup({"user": "app", "database": "app"})
    return chance.choice(
        (
            struct.pack("!i", chance.choice(LENGTHS)) + chance.randbytes(8),
            struct.pack("!ii", 9, PROTOCOL_3_0) + b"\0",
            struct.pack("!ii", 12, PROTOCOL_3_0) + b"user",
            struct.pack("!ii", 14, PROTOCOL_3_0) + b"user\0\0",
            startup({"user": "app"}, chance.choice((0, 1, 131072, 262144, 2**31 - 1))),
            startup({"database": "app"}),
            startup({"user": "x" * 9000}),
            startup({"user": "app", "replication": "perhaps"}),
            good[:-1] + b"x",
            SSL_REQUEST * 3 + good[:5],
            GSSENC_REQUEST + SSL_REQUEST + chance.randbytes(9),
            struct.pack("!ii", 16, 80877102) + chance.randbytes(8),
            struct.pack("!ii", 12, 80877102) + chance.randbytes(4),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00" + chance.randbytes(50),
            good + chance.randbytes(40),
            good + message(b"p", chance.randbytes(chance.randint(0, 40))),
            good + message(b"Q", b"select 1\0"),
        )
    )


ATTACKS = (noise, bad_length, unknown_type, right_frame_wrong_payload, mutated, no_text)


# To whom...


def before_login(proxy: Proxy, chance: random.Random) -> RawClient:
    client = RawClient(proxy.port, timeout=PATIENCE)
    client.send(chance.choice((startups, noise))(chance))
    return client


def after_login(proxy: Proxy, chance: random.Random) -> RawClient:
    client = proxy.raw(timeout=PATIENCE)
    client.send(chance.choice(ATTACKS)(chance))
    return client


def in_a_transaction(proxy: Proxy, chance: random.Random) -> RawClient:
    client = proxy.raw(timeout=PATIENCE)
    client.query(chance.choice(("begin", "begin read only")))
    client.query("select 1")
    client.send(chance.choice(ATTACKS)(chance))
    return client


def in_a_copy(proxy: Proxy, chance: random.Random) -> RawClient:
    client = proxy.raw(timeout=PATIENCE)
    client.send(message(b"Q", b"copy attacked from stdin\0"))
    assert client.codes_until(b"G") == b"G"
    client.send(message(b"d", b"1\n"), chance.choice(ATTACKS)(chance))
    return client


def in_a_unit(proxy: Proxy, chance: random.Random) -> RawClient:
    client = proxy.raw(timeout=PATIENCE)
    client.send(
        message(b"P", b"\0select generate_series(1, 1000)\0\0\0"),
        message(b"B", b"\0\0\0\0\0\0\0\0"),
        message(b"E", b"\0\0\0\0\1"),
        message(b"H") if chance.random() < 0.5 else b"",
        chance.choice(ATTACKS)(chance),
    )
    return client


def to_the_end(client: RawClient) -> list[Frame]:
    """Say no more; return what still comes, up to the end of the connection."""
    try:
        client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        return []  # it is closed already, what it said was reset with it
    frames: list[Frame] = []
    try:
        while True:
            frames.append(client.frame())
    except (EOFError, ConnectionResetError, AssertionError):
        return frames


@pytest.fixture(scope="module")
def attacked_cluster(cluster: EmbeddedCluster) -> EmbeddedCluster:
    cluster.primary.query("create table if not exists attacked (n int)", database="app")
    cluster.primary.query("grant all on attacked to app", database="app")
    cluster.wait_until_replayed()
    return cluster


@pytest.mark.parametrize(
    ("whom", "count", "lane_depth"),
    [
        (before_login, 140, 0),
        (after_login, 120, 0),
        (after_login, 40, 8),
        (in_a_transaction, 60, 0),
        (in_a_copy, 80, 0),
        (in_a_unit, 80, 0),
    ],
)
def test_malformed_streams_end_in_an_error_and_harm_nobody(
    attacked_cluster: EmbeddedCluster,
    make_proxy: MakeProxy,
    whom: Callable[[Proxy, random.Random], RawClient],
    count: int,
    lane_depth: int,
):
    proxy = make_proxy(
        attacked_cluster,
        {
            "auth": {"type": "password"},
            "pool": {"size": 4, "lane_depth": lane_depth},
            "limits": {"client_login_timeout": "3s"},
        },
    )
    states: Counter[str] = Counter()
    with Load(proxy, check, clients=3, simple=False) as others:
        memory = files = 0
        for number in range(count):
            if number == count // 4:
                memory, files = proxy.memory(), proxy.open_files()
            with whom(proxy, random.Random(f"{whom.__name__} {number}")) as attacker:
                for frame in to_the_end(attacker):
                    if frame.code == b"E":
                        states[error_fields(frame.payload)["C"]] += 1
        others.go_on(30)
        assert wait_until(lambda: len(proxy.console("SHOW CLIENTS")) == 3, timeout=PATIENCE), (
            proxy.console("SHOW CLIENTS")
        )
        assert proxy.memory() - memory < 16 * 1024 * 1024
        assert wait_until(lambda: proxy.open_files() <= files + 8, timeout=PATIENCE)
    assert not others.errors
    assert states["08P01"] >= count // 10, states
    log = proxy.log()
    assert "Traceback" not in log
    assert "failed" not in log
    assert "XX000" not in states
    # Nothing of an attacker is left in a server.
    assert attacked_cluster.primary.query(
        "select count(*) from pg_stat_activity where usename = 'app' "
        "and state like 'idle in transaction%'"
    ) == [(0,)]


@pytest.mark.parametrize(
    "sent",
    [
        message(b"Q", b"select 1"),
        message(b"Q", b"select 1\0select 2\0"),
        b"Q" + struct.pack("!i", 3),
        b"Q" + struct.pack("!i", -1),
        b"Q" + struct.pack("!i", 2**31 - 1),
        message(b"T", b"\0\0"),
        message(b"\0"),
    ],
)
def test_what_breaks_the_protocol_is_told_so_once_and_disconnected(proxy: Proxy, sent: bytes):
    with proxy.raw() as client:
        client.send(sent)
        fields = client.error()
        assert fields["C"] == "08P01"
        assert fields["S"] == "FATAL"
        assert fields["M"]
        assert client.is_closed()


def test_a_client_that_never_logs_in_is_disconnected(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    settings = {
        "limits": {"client_login_timeout": "500ms"},
        "tcp": {
            "defer_accept": "0s"
        },  # else the kernel keeps the silent one to itself at first
    }
    proxy = make_proxy(cluster, settings)
    silent = RawClient(proxy.port)
    slow = RawClient(proxy.port)
    slow.send(startup({"user": "app", "database": "app"}))
    began = time.monotonic()
    for client in (silent, slow):
        with client:
            while not client.is_closed():
                client.receive_exactly(1)
    assert time.monotonic() - began < 5


def test_a_query_that_comes_byte_by_byte_is_a_query(proxy: Proxy):
    with proxy.raw() as client:
        for byte in message(b"Q", b"select 'slowly'\0"):
            client.send(bytes([byte]))
        assert client.codes_until(b"Z") == b"TDCZ"


@pytest.mark.parametrize("extended", [False, True])
def test_a_sync_among_the_data_of_a_copy_is_ignored_as_postgresql_does(
    attacked_cluster: EmbeddedCluster, make_proxy: MakeProxy, extended: bool
):
    proxy = make_proxy(attacked_cluster, {"pool": {"size": 1}})
    for together in (True, False):
        with proxy.raw() as client:
            begin = (
                message(b"P", b"\0copy attacked from stdin\0\0\0")
                + message(b"B", b"\0\0\0\0\0\0\0\0")
                + message(b"E", b"\0\0\0\0\0")
                + message(b"S")
                if extended
                else message(b"Q", b"copy attacked from stdin\0")
            )
            data = [message(b"d", b"1\n"), message(b"S"), message(b"S"), message(b"d", b"2\n")]
            end = [message(b"c"), message(b"S") if extended else b""]
            after = message(b"Q", b"select 'after'\0")
            if together:
                client.send(begin, *data, *end, after)
            else:
                for part in (begin, *data, *end, after):
                    client.send(part)
            first = "12GCZ" if extended else "GCZ"
            assert client.codes_until(b"Z").decode() == first
            assert client.codes_until(b"Z") == b"TDCZ"
        assert wait_until(lambda: _all_idle(proxy), timeout=5), proxy.console("SHOW SERVERS")


@pytest.mark.parametrize(
    "sent",
    [
        message(b"Q", b"select 1\0"),
        message(b"P", b"\0select 1\0\0\0") + message(b"S"),
        message(b"F", struct.pack("!ihhih", 1598, 0, 0, 0, 0)),
    ],
)
def test_a_statement_among_the_data_of_a_copy_ends_the_session_and_leaves_nothing(
    attacked_cluster: EmbeddedCluster, make_proxy: MakeProxy, sent: bytes
):
    proxy = make_proxy(attacked_cluster, {"pool": {"size": 1}})
    for _ in range(2):
        with proxy.raw() as client:
            client.query("truncate attacked")
            client.send(message(b"Q", b"copy attacked from stdin\0"))
            assert client.codes_until(b"G") == b"G"
            client.send(message(b"d", b"1\n"), sent)
            assert client.error()["C"] == "08P01"
    with proxy.connect() as other:
        assert other.execute("select count(*) from attacked").fetchone() == (0,)
    assert wait_until(lambda: _all_idle(proxy), timeout=5), proxy.console("SHOW SERVERS")


def _all_idle(proxy: Proxy) -> bool:
    return all(row["state"] == "idle" for row in proxy.console("SHOW SERVERS"))
