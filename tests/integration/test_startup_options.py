"""Switches of one letter in the options of a startup packet mean what PostgreSQL makes of them, on every node."""

from __future__ import annotations

import socket
from typing import Any

import psycopg
import pytest

from rwsplit.app.welcome import MOST_ASKED
from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

NODES = ("primary", "replica1", "replica2", "replica3")
SETTINGS = [
    "datestyle",
    "work_mem",
    "enable_seqscan",
    "enable_hashjoin",
    "enable_tidscan",
    "log_statement_stats",
    "log_parser_stats",
    "log_executor_stats",
    "log_min_messages",
    "log_statement",
    "debug_print_parse",
    "allow_system_table_mods",
    "statement_timeout",
]
VALUES: Any = "select " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)


@pytest.mark.parametrize("user", ["app", "postgres"])
@pytest.mark.parametrize(
    "options",
    [
        "-e",
        "-e -c datestyle=sql",
        "-c datestyle=german -e",
        "-f s -fh",
        "-ef t -S9000",
        "-S 1MB --statement-timeout=7s -S 2MB",
        "-s",
        "-t pa -te",
        "-d 3",
        "-d 0",
        "-O",
        "-C x -D /data -E -j -n -T -r out -v 3 -b",
        # Refused...
        "-B 100",
        "-F",
        "-N 5",
        "-h here",
        "-i",
        "-k /tmp",
        "-l",
        "-p 1",
        "-f x",
        "-t x",
        "-z",
        "-d 9",
        "-e extra",
        "-S much",
        "-f",
    ],
)
def test_a_switch_does_what_it_does_directly(
    cluster: EmbeddedCluster, proxy: Proxy, user: str, options: str
):
    wanted: object
    try:
        with cluster.primary.connect("app", user, options=options) as direct:
            wanted = direct.execute(VALUES).fetchone()
    except psycopg.OperationalError as error:
        wanted = said_by(error)
    got: set[object] = set()
    try:
        with proxy.connect("app", user, options=options) as connection:
            for node in NODES:
                values: Any = f"/* rwsplit: node={node} */ {VALUES}"
                got.add(connection.execute(values).fetchone())
            connection.execute("reset all")
            got.add(connection.execute(VALUES).fetchone())
            connection.execute("set datestyle = 'postgres, mdy'")
            connection.execute("discard all")
            got.add(connection.execute(VALUES).fetchone())
    except psycopg.OperationalError as error:
        got.add(said_by(error))
    assert got == {wanted}


def said_by(error: psycopg.OperationalError) -> str:
    """Return what PostgreSQL said, without where and to whom."""
    return str(error).rpartition("failed: ")[2]


@pytest.mark.parametrize("options", ["-P", "-W 0", "-c ignore_system_indexes=on"])
def test_what_only_a_new_connection_can_have_is_refused_in_words(proxy: Proxy, options: str):
    with pytest.raises(psycopg.OperationalError, match="cannot be set at startup"):
        proxy.connect(options=options)


def test_very_many_parameters_are_refused_in_words(proxy: Proxy):
    def options(count: int) -> str:
        return " ".join(f"-c a.x{number}=" for number in range(count))

    with proxy.connect(options=options(MOST_ASKED - 10)) as connection:
        connection.execute("reset all")
    with pytest.raises(psycopg.OperationalError, match=f"may ask for {MOST_ASKED} parameters"):
        proxy.connect(options=options(MOST_ASKED + 1))


def test_a_terminate_instead_of_a_startup_packet_is_answered_by_silence(
    cluster: EmbeddedCluster, proxy: Proxy
):
    for port in (cluster.primary.port, proxy.port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(b"X\0\0\0\4")
            assert sock.recv(100) == b""
