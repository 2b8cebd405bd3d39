"""What a user's own logins run into says nothing about the nodes: nobody else's reads and writes go elsewhere for it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.bystander import Bystander
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient

pytestmark = pytest.mark.integration

BLAMED = re.compile(r"node_banned|node_down|node_suspect|no_writes")
CLIENTS = 4
LOGINS = 20


@pytest.fixture
def proxy(cluster: EmbeddedCluster, make_proxy: MakeProxy) -> Proxy:
    return make_proxy(cluster, {"pool": {"server_connect_timeout": "2s"}})


def blame(proxy: Proxy) -> list[str]:
    return [line for line in proxy.log().splitlines() if BLAMED.search(line)]


def at_once(attack: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(CLIENTS) as crowd:
        for done in [crowd.submit(attack, number) for number in range(CLIENTS)]:
            done.result()


@pytest.mark.parametrize(
    "parameter",
    [
        "idle_session_timeout=1",
        "statement_timeout=1",
        "post_auth_delay=30",
        "work_mem=nonsense",
    ],
)
def test_startup_parameters(cluster: EmbeddedCluster, proxy: Proxy, parameter: str):
    name, value = parameter.split("=")

    def attack(number: int) -> None:
        for n in range(LOGINS):
            with (
                contextlib.closing(RawClient(proxy.port, timeout=10)) as client,
                contextlib.suppress(OSError, EOFError, AssertionError),
            ):
                client.log_in(
                    user="app",
                    database="app",
                    password=cluster.passwords["app"],
                    **{name: value, "a.n": f"{number}.{n}"},
                )

    with Bystander(proxy):
        at_once(attack)
    assert not blame(proxy)


def test_settings_of_a_role(cluster: EmbeddedCluster, proxy: Proxy):
    with cluster.primary.connect() as boss:
        boss.execute("alter role app set idle_session_timeout = 1")
    try:
        cluster.wait_until_replayed()

        def attack(_number: int) -> None:
            for _ in range(LOGINS):
                with contextlib.suppress(psycopg.Error), proxy.connect() as client:
                    client.execute("select 1")
                    client.execute("create temp table t (a int); drop table t")

        at_once(attack)
    finally:
        with cluster.primary.connect() as boss:
            boss.execute("alter role app reset idle_session_timeout")
    assert not blame(proxy)
