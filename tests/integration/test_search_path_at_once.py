"""What follows a change of the search path at once, or in its transaction, means what PostgreSQL says, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import SYNC, query, statement
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import rows

pytestmark = pytest.mark.integration

LEAVES = "select set_config('my.leak', 'left', false)::text"


@pytest.fixture(scope="module")
def functions(cluster: ReachableCluster[Any]) -> Iterator[None]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create schema path_b")
        connection.execute(
            "create function which() returns text immutable language sql as $$select 'public'$$"
        )
        connection.execute(
            f"create function path_b.which() returns text volatile language sql as $${LEAVES}$$"
        )
        cluster.wait_until_replayed()
        yield
        connection.execute("drop function which(); drop schema path_b cascade")


@pytest.fixture
def narrow(cluster: ReachableCluster[Any], make_proxy: MakeProxy, functions: None) -> Proxy:
    """A proxy whose sessions share one server a node, and that knows the functions."""
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.connect() as client:  # its catalog is read
        assert wait_until(lambda: "catalog_read" in proxy.log(), timeout=10)
        client.execute("select 1")
    return proxy


SET = "set search_path = path_b"
LOCAL = "set local search_path = path_b"
CONFIG = "select set_config('search_path', 'path_b', {})"
CALL = "select which()"
WAYS = {
    "a transaction": query("begin") + query(LOCAL) + query(CALL) + query("commit"),
    "a read only one": query("begin read only") + query(LOCAL) + query(CALL) + query("commit"),
    "a function's": query("begin")
    + query(CONFIG.format("true"))
    + query(CALL)
    + query("commit"),
    "one string": query(f"{SET}; {CALL}; reset search_path"),
    "at once": query(SET) + query(CALL) + query("reset search_path"),
    "one pipeline": statement(SET) + statement(CALL) + SYNC + query("reset search_path"),
    "two": statement(SET) + SYNC + statement(CALL) + SYNC + query("reset search_path"),
    "by a function": query(CONFIG.format("false")) + query(CALL) + query("reset search_path"),
}


@pytest.mark.parametrize("role", ["app", "app in database app", "current_user"])
def test_the_default_path_that_a_login_has_at_once(
    cluster: ReachableCluster[Any], narrow: Proxy, role: str
):
    """The catalog tells of it a moment later; and who was logged in before keeps the old one."""
    with narrow.connect() as before:
        assert before.execute("show search_path").fetchone() == ('"$user", public',)
        before.execute(f"alter role {role} set search_path = path_b")  # type: ignore[arg-type]
        try:
            for _ in range(3):
                with narrow.connect() as client:
                    assert client.execute(CALL).fetchone() == ("left",)
                    assert client.execute("show rwsplit.pinned").fetchone() != ("no",)
                assert before.execute(CALL).fetchone() == ("public",)
                assert before.execute("show rwsplit.pinned").fetchone() == ("no",)
                for node in ("primary", "node=replica1", "node=replica2", "node=replica3"):
                    text = f"/* rwsplit: {node} */ select current_setting('my.leak', true)"
                    assert before.execute(text).fetchone() in {(None,), ("",)}
        finally:
            before.execute(f"alter role {role} reset search_path")  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_function_of_the_new_path_leaves_is_nobody_elses(narrow: Proxy, way: str):
    ends = WAYS[way].count(b"Q\0") + WAYS[way].count(SYNC)
    for _ in range(3):
        with narrow.raw() as client:
            client.send(WAYS[way])
            frames = [frame for _ in range(ends) for frame in client.frames_until(b"Z")]
            assert (b"left",) in rows(frames)
        for node in ("primary", "node=replica1", "node=replica2", "node=replica3"):
            with narrow.connect() as other:
                text = f"/* rwsplit: {node} */ select current_setting('my.leak', true)"
                assert other.execute(text).fetchone() in {(None,), ("",)}
