"""Texts that are expensive to parse: PostgreSQL answers them in milliseconds, and so does rwsplit, and other clients do not wait."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.bystander import Bystander
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

DEPTH = 30
NESTED = [
    "int(",
    "numeric(",
    "double precision(",
    "union(",
    "date[",
    "x limit (select ",
    "date(",
]
TEXTS = {
    **{w: f"select {w * DEPTH}1{(']' if w.endswith('[') else ')') * DEPTH}" for w in NESTED},
    "joins": "select 1 from a" + " join b" * DEPTH,
    "subscripts": "select a" + "[b]" * 1300,
    "signs": "select 1 " + "+" * 3900 + "1",
    "more signs": "select 1 " + "+" * 16_000 + "1",  # PostgreSQL itself takes quadratic time
    "statements": "; ".join(["select int(int(int(int(int(int(int(int(1))))))))"] * 80),
    "parentheses": "select " + "(" * 3000 + "1" + ")" * 3000,
    "unions": " union all ".join(["select 1"] * 4000),
}
#: Seconds. For ever is what it took; the machine is a busy one.
PATIENCE = 5.0


def state_of(connection: psycopg.Connection[Any], text: str) -> str | None:
    """Return the SQLSTATE *text* ends with, None if it is none."""
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_expensive_to_parse_is_answered_and_others_do_not_wait(
    cluster: ReachableCluster[Any], proxy: Proxy, name: str
):
    text = TEXTS[name]
    with cluster.primary.connect("app") as directly:
        expected = state_of(directly, text)
    with Bystander(proxy) as bystander, proxy.connect() as connection:
        began = time.monotonic()
        for _ in range(3):  # not only the first time
            assert state_of(connection, text) == expected
        took = time.monotonic() - began
    print(f"{name}: {took * 1000:.0f} ms")
    assert took < PATIENCE
    assert bystander.slowest_query < PATIENCE / 2
