"""Random conversations, sensible or not: never a server, a session or an answer lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.conversations import TABLE, Wild, play
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server per node: one that is lost is missed at once."""
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(f"create table {TABLE} (a int)")
        with Proxy(
            cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}
        ) as running:
            yield running
        connection.execute(f"drop table {TABLE}")


def converse(port: int, password: str, conversation: Wild) -> list[list[Frame]]:
    with RawClient(port) as client:
        client.log_in(
            user="app",
            database="app",
            password=password,
            **conversation.parameters,  # type: ignore[arg-type]
        )
        return play(client, conversation.batches())


def test_nothing_is_lost_whatever_is_said(cluster: ReachableCluster[Any], narrow: Proxy):
    for seed in range(150):
        converse(narrow.port, cluster.passwords["app"], Wild(seed))

    def is_idle() -> bool:
        return all(row["state"] == "idle" for row in narrow.console("SHOW SERVERS"))

    assert wait_until(is_idle, timeout=5), narrow.console("SHOW SERVERS")
    assert "server_violation" not in narrow.log()
    assert "Traceback" not in narrow.log()
