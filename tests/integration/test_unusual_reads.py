"""Reads that sqlglot does not know: PostgreSQL accepts each of them, and they run on replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy
from tests.support.unusual_reads import UNUSUAL_READS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def connection(proxy: Proxy) -> Iterator[psycopg.Connection[Any]]:
    with proxy.connect(prepare_threshold=None) as made:
        yield made


def last_route(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    """Return node and reason of the previous statement."""
    [(text,)] = connection.execute("show rwsplit.last_route").fetchall()
    node, _, rest = text.partition(" ")
    return node, rest.partition(":")[0]


@pytest.mark.parametrize("statement", UNUSUAL_READS)
def test_they_go_to_a_replica(connection: psycopg.Connection[Any], statement: Any):
    connection.execute(statement)
    node, reason = last_route(connection)
    assert node.startswith("replica")
    assert reason in {"READ", "WAITED_FOR_REPLICA"}


@pytest.fixture(scope="module")
def types(proxy: Proxy, cluster: ReachableCluster[Any]) -> Iterator[None]:
    with proxy.connect() as connection:  # so that the catalog is read again
        connection.execute(
            """
            create schema unusual;
            create function unusual.is_primary() returns bool language sql volatile as
              $$select not pg_is_in_recovery()$$;
            create domain unusual.plain as int;
            create domain unusual.checked as int check (unusual.is_primary() is not null);
            """
        )
        cluster.wait_until_replayed()
        yield
        connection.execute("drop schema unusual cascade")


@pytest.mark.parametrize(
    ("statement", "is_read"),
    [
        ("select unusual.plain '1'", True),
        ("select unusual.checked '1'", False),
        ("select '1'::unusual.checked", False),
        (r"""select unusual.U&"ch\0065cked" '1'""", False),
        (r"""select unusual.U&"is_prim\0061ry"()""", False),
    ],
)
def test_a_type_before_a_literal_is_what_a_cast_to_it_is(
    proxy: Proxy, types: None, statement: Any, is_read: bool
):
    with proxy.connect(prepare_threshold=None) as connection:

        def is_read_now() -> bool:
            connection.execute(statement)
            return last_route(connection)[0].startswith("replica")

        assert wait_until(lambda: is_read_now() == is_read, timeout=10)
